"""Who may do what: a token for what changes state, and names that a request may be addressed to."""

import hmac
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.http.problems import Problem
from engine.settings import SENDABLE, SENDABLE_IS

NO_TOKEN = (
    "no token is configured, so nothing can be changed and no message be shown: "
    "start the engine with HEADRACE_TOKEN set, and send it as `Authorization: Bearer ...`"
)
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="headrace"'}


@dataclass(frozen=True, slots=True)
class Keeper:
    """Knows the token. Without one nobody may change anything; with `reading`, not even look without it.

    Raises `ValueError` for a token that could be guessed, an empty one above all, or that no header can hold.
    """

    token: str | None = None
    reading: bool = False

    def __post_init__(self) -> None:
        if self.token is not None and not SENDABLE.fullmatch(self.token):
            raise ValueError(f"token: {SENDABLE_IS}; or None, and nobody changes anything")

    def known(self, request: HTTPConnection) -> bool:
        """Whether the request brings the token. Compared in a time that does not tell how much of it was right."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if self.token is None or scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.strip().encode(), self.token.encode())

    def check(self, request: HTTPConnection) -> None:
        """Let nobody pass without the token. Raises `Problem`: 403 where none is configured, else 401."""
        if self.token is None:
            raise Problem(HTTPStatus.FORBIDDEN, NO_TOKEN)
        if not self.known(request):
            given = "authorization" in request.headers
            detail = "this token is not the engine's" if given else "send the token as `Authorization: Bearer ...`"
            raise Problem(HTTPStatus.UNAUTHORIZED, detail, CHALLENGE)

    def may_read(self, request: HTTPConnection) -> bool:
        """Whether a request may see names: everybody's, unless reading is guarded too."""
        return not self.reading or self.known(request)

    def check_reading(self, request: HTTPConnection) -> None:
        """Let everybody pass, unless reading is guarded too."""
        if self.reading:
            self.check(request)


class Guarded:
    """What is in it is read by those alone who may."""

    def __init__(self, app: ASGIApp, keeper: Keeper) -> None:
        self.app = app
        self.keeper = keeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.keeper.check_reading(HTTPConnection(scope))
        await self.app(scope, receive, send)


class KnownHosts:
    """Refuses requests addressed to a name that is not ours, with 421.

    A page elsewhere can have its own name lead to this machine, and then read the answers as its own (DNS rebinding).
    It needs a name for that: addresses in digits, and localhost, always pass.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] = ()) -> None:
        self.app = app
        self.names = frozenset(name.lower().rstrip(".") for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self.known(HTTPConnection(scope).headers.get("host", "")):
            detail = "this engine does not go by that name; add it to HEADRACE_HTTP_HOSTS if it should"
            await Problem(HTTPStatus.MISDIRECTED_REQUEST, detail).response()(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def known(self, host: str) -> bool:
        """Whether a request may say that it is for this host."""
        name = host_of(host).lower().rstrip(".")
        if name in self.names or name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True


def host_of(authority: str) -> str:
    """The host of `host:port`, without the brackets of an IPv6 address."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]
