"""The AsyncAPI document over HTTP: `/asyncapi.json`, `/asyncapi.yaml`, and `/asyncapi`, the page."""

from collections.abc import Callable, Sequence
from threading import Lock

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from topologies import DocumentFormat, Graph, asyncapi, page_policy, render

_PATHS: dict[str, tuple[DocumentFormat, str]] = {
    "/asyncapi.json": ("json", "application/json"),
    "/asyncapi.yaml": ("yaml", "application/yaml"),
    "/asyncapi": ("html", "text/html; charset=utf-8"),
}


def routes(graphs: Sequence[Graph]) -> list[Route]:
    """Where the document is. Each form is made once, when it is first asked for, in a thread: it takes a while."""
    made = _Made(graphs)
    return [Route(path, _answering(made, *what), methods=["GET"]) for path, what in _PATHS.items()]


class _Made:
    """The forms that were asked for, each made by one thread while the others wait for it."""

    def __init__(self, graphs: Sequence[Graph]) -> None:
        self._graphs = graphs
        self._forms: dict[DocumentFormat, bytes] = {}
        self._lock = Lock()

    def form(self, format: DocumentFormat) -> bytes:
        with self._lock:
            if format not in self._forms:
                self._forms[format] = render(asyncapi(self._graphs), format).encode()
            return self._forms[format]


def _answering(made: _Made, format: DocumentFormat, media_type: str) -> Callable[[Request], Response]:
    headers = {"Content-Security-Policy": f"{page_policy()}; frame-ancestors 'none'"} if format == "html" else None

    def answer(request: Request) -> Response:
        return Response(made.form(format), media_type=media_type, headers=headers)

    return answer
