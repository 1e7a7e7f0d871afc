"""`/metrics`: what is measured, as Prometheus text."""

from collections.abc import Awaitable, Callable
from time import monotonic

from anyio import Lock, to_thread
from starlette.requests import Request
from starlette.responses import Response

from engine.engine import Engine
from engine.telemetry.scrape import Scrape, form

FRESH = 0.5
"""Seconds for which figures are shown again instead of being read anew: scraping fast must not slow the messages."""
FEW = 50
"""Stages whose text is written within the event loop, in some milliseconds; of more it takes a thread, which under full
load waits long for its turns."""


def metrics(scrape: Scrape, engine: Engine) -> Callable[[Request], Awaitable[Response]]:
    """What answers those who scrape an engine."""
    lock, made = Lock(), dict[str, tuple[float, bytes, str]]()

    async def answer(request: Request) -> Response:
        wanted = form(",".join(request.headers.getlist("accept")))
        async with lock:
            if wanted not in made or monotonic() - made[wanted][0] > FRESH:
                few = len(engine.running) <= FEW
                text, kind = scrape.text(wanted) if few else await to_thread.run_sync(scrape.text, wanted)
                made[wanted] = monotonic(), text, kind
            _, text, kind = made[wanted]
        return Response(text, headers={"Content-Type": kind})

    return answer
