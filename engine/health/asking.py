"""Asking brokers whether they are there, where nothing else is asked of them: a paused stage, an idle publisher."""

from collections.abc import Callable, Iterable

from anyio import create_task_group, sleep

from actors import Link

EVERY = 5.0
"""Seconds between two questions."""
PATIENCE = 10.0
"""Seconds that an answer may take."""


async def keep_asking(links: Callable[[], Iterable[Link]]) -> None:
    """Ask over every link that is idle, side by side, every `EVERY` seconds until cancelled.

    Whoever uses a link learns by that whether its broker is there, so that nothing is asked beside messages.
    """
    asked: set[int] = set()

    async def ask(link: Link) -> None:
        try:
            await link.look(PATIENCE)
        finally:
            asked.discard(id(link))

    async with create_task_group() as tasks:
        while True:
            await sleep(EVERY)
            for link in links():
                if link.idle and id(link) not in asked:
                    asked.add(id(link))
                    tasks.start_soon(ask, link)
