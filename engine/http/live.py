"""The live page: `index.html` at `/`, and what it is made of below `/page/`. It asks the API for all that it shows."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

FOLDER = Path(__file__).parent / "page"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # No text can become markup: the browser refuses innerHTML and its like, whoever should try them.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""What the page may do: load its own files, ask its own engine."""
HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}


def routes() -> list[BaseRoute]:
    """Where the page is."""
    return [Route("/", _page(), methods=["GET"]), Mount("/page", StaticFiles(directory=FOLDER))]


def _page() -> Callable[[Request], Awaitable[Response]]:
    # Out of memory: under full load the thread that reads a file waits long for its turns.
    content = (FOLDER / "index.html").read_bytes()

    async def page(request: Request) -> Response:
        return Response(content, media_type="text/html", headers=HEADERS)

    return page
