"""A line in the log when a stage has stopped moving, and one when it moves again."""

from collections.abc import Callable
from logging import getLogger
from time import monotonic

from anyio import sleep

from engine.health.health import Health, StageHealth
from engine.health.heartbeat import BEAT, Heartbeat

logger = getLogger("headrace")


LOOKS = 20
"""Times that is looked at a stage before it counts as stalled: a look takes time for every stage that there is."""


async def watch(health: Callable[[], Health], heartbeat: Heartbeat, stalled_after: float) -> None:
    """Until cancelled, beat every `BEAT` seconds, and look now and then whether a stage has stopped."""
    since: dict[tuple[str, str], float] = {}
    beats = max(1, int(stalled_after / LOOKS / BEAT))
    with heartbeat:
        while True:
            for _ in range(beats):
                await sleep(BEAT)
                heartbeat.beat()
            for stage in health().stages:
                log_change(stage, since, monotonic())


def log_change(stage: StageHealth, since: dict[tuple[str, str], float], now: float) -> None:
    """Log what is new about one stage; `since` says of those that are known to be stalled since when."""
    key, fields = (stage.topology, stage.stage), {"topology": stage.topology, "stage": stage.stage}
    if stage.stalled and key not in since:
        since[key] = now - (stage.unmoved or 0.0)
        logger.warning("stalled: %s", stage.told, extra=fields)
    elif not stage.stalled and key in since:
        logger.info("%s moves again, after %.0f s", stage.stage, now - since.pop(key), extra=fields)
