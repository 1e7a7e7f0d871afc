"""`Remote`: a running engine, spoken to through its HTTP API."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Annotated, Any, Self
from urllib.parse import quote

import httpx
import typer

from engine.cli.exits import Code, CommandError

PATIENCE = httpx.Timeout(40.0, connect=5.0)
"""Seconds; dead letters may take their broker half a minute."""
Url = Annotated[
    str,
    typer.Option(envvar="HEADRACE_URL", metavar="URL", help="Where the engine is: what it was started with as --http."),
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="HEADRACE_TOKEN", help="What the engine wants to be shown by those who change something or see messages."
    ),
]
HERE = "http://127.0.0.1:8080"


class Refused(CommandError):
    """The engine is there, and does not do what it was asked. `status` is that of its answer."""

    def __init__(self, problem: str, status: int) -> None:
        super().__init__(problem, _REMEDIES.get(status, ""), Code.FAILED)
        self.status = status


class Remote:
    """Asks an engine and tells it, until the end of a `with`. What it refuses is raised as `Refused`."""

    def __init__(self, url: str, token: str | None, transport: httpx.BaseTransport | None = None) -> None:
        self.url = _address(url)
        headers = {"Authorization": f"Bearer {_sendable(token)}"} if token else {}
        self.client = httpx.Client(
            base_url=f"{self.url}/api/v1", headers=headers, timeout=PATIENCE, transport=transport, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.client.close()

    def get(self, path: str, has: str | None = None, **query: Any) -> Any:
        """What there is at a path. What `has` no such field is no answer of an engine's."""
        answer = self._ask("GET", path, params=_given(query))
        found = self._answer(answer)
        if has is not None and has not in found:
            raise self._no_engine(answer)
        return found

    def status(self) -> Any:
        """How the engine and its stages are."""
        return self.get("/status", has="stages")

    def post(self, path: str, **body: Any) -> Any:
        """Tell it something; without a body where there is none."""
        return self._answer(self._ask("POST", path, json=_given(body)) if body else self._ask("POST", path))

    @contextmanager
    def events(self, path: str, **query: Any) -> Iterator[Iterator[Any]]:
        """The data of server-sent events as they come, until the engine ends them."""
        with _reached(self.url), self.client.stream("GET", path, params=_given(query)) as answer:
            if answer.status_code != 200:
                answer.read()
                self._answer(answer)
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                raise self._no_engine(answer)
            yield (self._read(line[6:], answer) for line in _lines(answer.iter_bytes()) if line.startswith(b"data: "))

    def stages(self, pattern: str) -> list[tuple[str, str]]:
        """Topology and name of all stages whose `topology.stage`, or name, matches a glob. Raises `CommandError`."""
        there = [(each["topology"], each["stage"]) for each in self.status()["stages"]]
        exact = [each for each in there if pattern in (f"{each[0]}.{each[1]}", each[1])]
        found = exact or [
            each for each in there if fnmatchcase(f"{each[0]}.{each[1]}", pattern) or fnmatchcase(each[1], pattern)
        ]
        if not found:
            names = ", ".join(f"{topology}.{stage}" for topology, stage in there[:12])
            more = f", and {len(there) - 12} more" if len(there) > 12 else ""
            raise CommandError(f"{pattern}: the engine has no such stage", f"it has {names}{more}")
        return found

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        with _reached(self.url):
            return self.client.request(method, path, **more)

    def _answer(self, answer: httpx.Response) -> Any:
        if answer.is_success:
            return self._read(answer.content, answer)
        try:
            told = answer.json()["detail"]
        except (ValueError, KeyError, TypeError):
            raise self._no_engine(answer) from None
        raise Refused(told, answer.status_code)

    def _read(self, text: bytes, answer: httpx.Response) -> dict[str, Any]:
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._no_engine(answer)
        return found

    def _no_engine(self, answer: httpx.Response) -> Refused:
        return Refused(f"{self.url} answers {answer.status_code}, and not as an engine would", answer.status_code)


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines as events have them: what else ends a line in Unicode may be within a message's text."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole


_TOKENS = "set HEADRACE_TOKEN to what the engine was given: ASCII, with no line end behind it"
_REMEDIES = {
    401: "set HEADRACE_TOKEN, or give --token",
    403: "start the engine with HEADRACE_TOKEN set",
    404: "`headrace top` shows what there is",
    200: "say with --url where the engine is, as it did when it began to serve",
}


def stage_path(topology: str, stage: str, does: str) -> str:
    """The path by which a stage is told something."""
    return f"/stages/{quote(topology, safe='')}/{quote(stage, safe='')}/{does}"


def _address(url: str) -> str:
    """The URL of an engine, from that or from `host:port`."""
    whole = url if "://" in url else f"http://{url}"
    try:
        parsed = httpx.URL(whole)
        sound = parsed.scheme in ("http", "https") and bool(parsed.host)
    except httpx.InvalidURL:
        sound = False
    if not sound:
        raise CommandError(f"{url!r:.80} is no URL of an engine", f"write {HERE}")
    return whole.rstrip("/")


def _sendable(token: str) -> str:
    """The token, where a header can hold it; a library would say of another what it is."""
    if not (token.isascii() and token.isprintable()):
        raise CommandError("the token has a character that no header can hold", _TOKENS)
    return token


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


@contextmanager
def _reached(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.ConnectError as error:
        remedy = "start one with `headrace run TARGET --http 127.0.0.1:8080`, or say where one is with --url"
        raise CommandError(f"no engine answers at {url}: {error}", remedy, Code.UNAVAILABLE) from None
    except httpx.TransportError as error:
        told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise CommandError(f"the engine at {url} went away: {told}", "look at its log", Code.UNAVAILABLE) from None
