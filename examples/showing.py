"""For the examples: the brokers that they run on, and what arrived at a destination."""

import os
from typing import Any

from anyio import move_on_after

from headrace import Message, broker


def server(variable: str) -> Any:
    """The broker whose URL is in that environment variable; without it the embedded one, which needs no server."""
    return broker(os.environ.get(variable, "memory:"))


async def arrived(endpoint: Any, quiet: float = 2.0) -> list[Message]:
    """Read a destination, as a consumer of its own would, until nothing more comes for `quiet` seconds."""
    found: list[Message] = []
    source = endpoint.source("example")
    await source.open()
    try:
        while True:
            run: list[Message] = []
            with move_on_after(0.05 if endpoint.capabilities.embedded else quiet):
                run = await source.fetch(100)
            if not run:
                return found
            found += run
            await source.settle(run, [])
    finally:
        await source.close()
