"""Limits on what comes in, and headers on all that goes out."""

from http import HTTPStatus

from anyio import create_task_group, move_on_after
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.http.problems import Problem

BODY = 64 * 1024
"""Bytes that the body of a request may have."""
PATIENCE = 10.0
"""Seconds within which a body has to be here."""
LINGER = 1.0
"""Seconds for which the rest of a refused body is read: an answer is lost on those who are cut off while they send."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""On every answer, unless it has said otherwise itself."""


class Bounded:
    """Has the whole body of a request, and no more than `most` bytes, before anybody looks at it.

    413 for what is longer, 408 for what does not come. Whoever asked may still be sending then: it is read and let go,
    since a server that has its hands full of a body nobody takes would never finish the answer.
    """

    def __init__(self, app: ASGIApp, most: int = BODY, patience: float = PATIENCE) -> None:
        self.app = app
        self.most = most
        self.patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            body = await self._body(receive)
        except Problem as problem:
            with move_on_after(LINGER):
                await _discard(receive, all_of_it=False)
            async with create_task_group() as tasks:
                tasks.start_soon(_discard, receive)
                await problem.response()(scope, receive, send)
                tasks.cancel_scope.cancel()
            return
        if body is not None:
            await self.app(scope, _replayed(body, receive), send)

    async def _body(self, receive: Receive) -> bytes | None:
        """The body; None when whoever asked has gone."""
        body = bytearray()
        with move_on_after(self.patience):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                if len(body) > self.most:
                    detail = f"a body may have {self.most} bytes"
                    raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, {"Connection": "close"})
                if not message.get("more_body", False):
                    return bytes(body)
        detail = f"the body has to be here within {self.patience:g} s"
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, detail, {"Connection": "close"})


class Secured:
    """Puts the security headers on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, sending if scope["type"] == "http" else send)


async def _discard(receive: Receive, all_of_it: bool = True) -> None:
    message = await receive()
    while message["type"] != "http.disconnect" and (all_of_it or message.get("more_body", False)):
        message = await receive()


def _replayed(body: bytes, receive: Receive) -> Receive:
    """What an app receives: the body that was read already, and then whatever else comes."""
    given = False

    async def receiving() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving
