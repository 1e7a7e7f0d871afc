"""What redis-py's errors and Redis's answers mean: out of reach for now, or a no that somebody has to mend."""

import re
import ssl

from redis.exceptions import AuthenticationError, RedisError, ResponseError

from actors import BrokerError, BrokerRefused, BrokerUnavailable

PASSING = frozenset(("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "ASK", "BUSY", "NOREPLICAS"))
"""Answers of a server that will take the same command later, or of one that another has taken the place of."""
FULL = frozenset(("OOM", "MISCONF"))
"""Answers of a server that has no room for what is published."""
EVERYBODY = frozenset(("OOM", "MISCONF", "NOAUTH"))
"""Answers that have nothing to do with what was asked: every other message would be refused too."""

_REMEDIES = {
    "NOAUTH": "the server asks for a login: put user and password into the URL, or into Redis(user=, password=)",
    "WRONGPASS": "correct the user and the password in the URL, or in Redis(user=, password=)",
    "NOPERM": "give this user the right to these commands and keys (ACL SETUSER), or log in as another one",
    "WRONGTYPE": "that key holds a value of another type: choose another name, or delete the key",
    "NOSTREAM": "nothing was published, so that nothing is lost: run the topology first, which makes stream and group",
    "OOM": "raise maxmemory, or let publishers trim what was read: stream(name, maxlen=...)",
    "MISCONF": "the server cannot write to its disk and takes nothing more: see its log",
    "MOVED": "this server is a node of a cluster: write redis-cluster://host:port, or Redis(url, cluster=True)",
    "CROSSSLOT": "in a cluster these keys have to be on one node: put {} around the same part of their names",
}
_TEXTS = (
    ("unknown command", "Headrace needs Redis 6.2 or newer"),
    ("cluster support disabled", "this server is no cluster: write redis://host:port"),
    ("AUTH <password> called without", "this server has no password for the default user: leave it out of the URL"),
    ("invalid password", "correct the password"),
    ("DB index", "correct the database's number, which ends the URL"),
)
_SCRIPT = re.compile(r"Error running script .*: -([A-Z]+) ")
"""What Redis 6.2 answers a script that was told no; later ones say no more than the no itself."""
_TLS = "correct cafile=, certfile=, keyfile= of Redis(...), or the host's name; a rediss: URL needs a server with TLS"


def code(error: Exception) -> str:
    """The word that an answer of the server begins with; redis-py takes some of them off the text."""
    if told := _SCRIPT.search(str(error)):
        return told[1]
    return getattr(error, "status_code", None) or str(error).partition(" ")[0]


LOST = (RedisError, OSError, RuntimeError)
"""What is raised on a connection that went wrong; the last by uvloop, for a write to one that is closed already."""


def said(error: Exception) -> str:
    """What the server said, with that word."""
    text, word = " ".join(str(error).split()), code(error)
    return text if text.startswith(word) else f"{word} {text}"


def answer(error: ResponseError, where: str) -> BrokerError:
    """The error for a server's answer to a command; `where` names server and endpoint."""
    word = code(error)
    if word in PASSING:
        return BrokerUnavailable(f"{where}: {said(error)}")
    if word in FULL:
        where = f"{where}: destination refuses for now"
    remedy = _REMEDIES.get(word) or next((then for text, then in _TEXTS if text in str(error)), "")
    return BrokerRefused(f"{where}: the server said: {said(error)}" + (f"\n  {remedy}" if remedy else ""))


def unusable(error: OSError, where: str) -> BrokerRefused:
    """The error for files of TLS that cannot be read."""
    return BrokerRefused(f"{where}: cafile=, certfile= or keyfile=: {error.strerror or error}\n  {_TLS}")


def trouble(error: BaseException, where: str, hint: str = "") -> BrokerError:
    """The error for whatever went wrong with a connection."""
    if isinstance(error, ResponseError | AuthenticationError):
        return answer(error, where)  # type: ignore[arg-type]  # both are what the server said
    cause = _cause(error)
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return BrokerRefused(f"{where}: no TLS with it: {cause.reason or cause}\n  {_TLS}")
    if isinstance(error, TimeoutError):
        return BrokerUnavailable(f"{where}: no answer in time{hint}")
    text = " ".join(str(error).split()) if isinstance(error, RedisError | OSError) else repr(error)
    return BrokerUnavailable(f"{where}: {text or type(error).__name__}")


def _cause(error: BaseException) -> BaseException:
    """The error that redis-py, which tells only its text, came from."""
    while isinstance(error, RedisError) and (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error
