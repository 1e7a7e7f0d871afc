"""`/metrics`: what is measured, as Prometheus text."""

from collections.abc import Callable
from threading import Lock
from time import monotonic

from starlette.requests import Request
from starlette.responses import Response

from engine.telemetry.scrape import Scrape

FRESH = 0.5
"""Seconds for which figures are shown again instead of being read anew: scraping fast must not slow the messages."""


def metrics(scrape: Scrape) -> Callable[[Request], Response]:
    """What answers those who scrape, in a thread: of a thousand stages the text takes a while to write."""
    lock = Lock()
    made: dict[bool, tuple[float, bytes, str]] = {}

    def answer(request: Request) -> Response:
        accept = request.headers.get("accept", "")
        with lock:
            known = made.get(open_ := "openmetrics" in accept)
            if known is None or monotonic() - known[0] > FRESH:
                known = made[open_] = monotonic(), *scrape.text(accept)
        return Response(known[1], headers={"Content-Type": known[2]})

    return answer
