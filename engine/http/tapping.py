"""Tapping over HTTP: samples of what enters and leaves stages, as server-sent events. They are users' data."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus

from pydantic import TypeAdapter
from starlette.responses import Response

from engine.control import ControlError, UnknownStage
from engine.engine import Engine
from engine.http.events import Listening
from engine.http.operations import Asked, Operation, Query
from engine.taps import Sample, Tap

MOST = 8
"""The most who may tap at once."""
SAMPLE = TypeAdapter(Sample)
GLOB = Query("stage", "the stages meant: a glob of `topology.stage`, or of names", {"type": "string", "minLength": 1})
RATE = Query("rate", "the most messages a second of each stage", {"type": "integer", "minimum": 1, "maximum": 100})
COUNT = Query("count", "after how many samples it ends", {"type": "integer", "minimum": 1, "maximum": 1_000_000})


class Tapping:
    """Answers those who want to tap."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.listeners = 0

    def operations(self) -> list[Operation]:
        """What can be asked."""
        return [
            Operation(
                "GET",
                "/tap",
                "Samples of what enters and leaves stages, as server-sent events.",
                self.tap,
                None,
                guarded=True,
                query=(GLOB, RATE, COUNT),
                problems=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE),
            )
        ]

    async def tap(self, asked: Asked) -> Response:
        glob = asked.query.get("stage", "*")
        if not self.engine.assemblies:
            raise ControlError("the engine has not started yet; try again when /startupz answers 200")
        tap = Tap(self.engine.assemblies, glob, asked.query.get("rate", 10))
        if not tap.stages:
            raise UnknownStage(f"no stage matches {glob!r:.80}; /api/v1/status lists those there are")
        return Listening(_Samples(self, tap), asked.query.get("count"))


class _Samples:
    """One tap, as something to listen to; all taps together are counted."""

    most = MOST

    def __init__(self, tapping: Tapping, tap: Tap) -> None:
        self._tapping = tapping
        self._tap = tap

    @property
    def listeners(self) -> int:
        return self._tapping.listeners

    @listeners.setter
    def listeners(self, count: int) -> None:
        self._tapping.listeners = count

    async def listen(self, count: int | None = None) -> AsyncGenerator[bytes, None]:
        yield b": tapped\n\n"
        async with aclosing(self._tap.listen()) as samples:
            async for sample in samples:
                if sample is None:
                    yield b": still here\n\n"
                    continue
                yield b"event: sample\ndata: %b\n\n" % SAMPLE.dump_json(sample)
                if count is not None and (count := count - 1) <= 0:
                    return
