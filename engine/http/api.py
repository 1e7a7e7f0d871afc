"""The API of a running engine, version 1: what can be read of it, and what it can be told."""

from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engine.engine import Engine
from engine.http import dead
from engine.http.auth import Keeper
from engine.http.events import Feed, Listening
from engine.http.models import Done, Draining, Graphs, Scale, StageDetail, Status
from engine.http.openapi import document
from engine.http.operations import PREFIX, Asked, Operation, Query, routes
from engine.http.tapping import Tapping
from engine.http.view import View

STAGE = "/stages/{topology}/{stage}"
COUNT = Query(
    "count",
    "after how many seconds it ends; without it, with the engine",
    {"type": "integer", "minimum": 1, "maximum": 86_400},
)
UNKNOWN = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)


class Api:
    """Answers for one engine."""

    def __init__(self, engine: Engine, feed: Feed, view: View) -> None:
        self.engine = engine
        self.feed = feed
        self.view = view

    def operations(self) -> list[Operation]:
        """All that it can be asked."""
        return [
            Operation("GET", "/status", "How the engine and each of its stages are.", self.status, Status),
            Operation(
                "GET", "/graph", "Each topology as nodes and edges, and their places in a picture.", self.graph, Graphs
            ),
            Operation(
                "GET",
                "/events",
                "The status as server-sent events: at once, and then each second in which something has changed.",
                self.events,
                None,
                query=(COUNT,),
                problems=(HTTPStatus.SERVICE_UNAVAILABLE,),
            ),
            *Tapping(self.engine).operations(),
            *dead.Dead(self.engine).operations(),
            Operation(
                "POST",
                "/drain",
                "Fetch nothing more, finish what there is, end.",
                self.drain,
                Draining,
                guarded=True,
            ),
            Operation(
                "POST",
                f"{STAGE}/pause",
                "Fetch nothing for this stage until it is resumed; what was fetched goes on.",
                self.pause,
                Done,
                guarded=True,
                problems=UNKNOWN,
            ),
            Operation(
                "POST",
                f"{STAGE}/resume",
                "Fetch for this stage again.",
                self.resume,
                Done,
                guarded=True,
                problems=UNKNOWN,
            ),
            Operation(
                "POST",
                f"{STAGE}/scale",
                "Have that many workers. A pool that finds its own size keeps to it, until it is told `auto`.",
                self.scale,
                Done,
                guarded=True,
                body=Scale,
                problems=UNKNOWN,
            ),
            Operation(
                "GET",
                STAGE,
                "A stage: its settings, where it is declared, its supervisor, its connections, and its recent errors. "
                "Their words are told only to those with the token.",
                self.stage,
                StageDetail,
                problems=UNKNOWN,
            ),
        ]

    async def status(self, asked: Asked) -> Status:
        return await self.view.status()

    async def graph(self, asked: Asked) -> Graphs:
        return await self.view.graphs()

    async def stage(self, asked: Asked) -> StageDetail:
        return self.view.stage(*_named(asked), whole=asked.trusted)

    async def events(self, asked: Asked) -> Response:
        return Listening(self.feed, asked.query.get("count"))

    async def pause(self, asked: Asked) -> Done:
        self.engine.pause(*_named(asked))
        return self._done(asked)

    async def resume(self, asked: Asked) -> Done:
        self.engine.resume(*_named(asked))
        return self._done(asked)

    async def scale(self, asked: Asked) -> Done:
        workers = asked.body.workers
        await self.engine.scale(*_named(asked), None if workers == "auto" else workers)
        return self._done(asked)

    async def drain(self, asked: Asked) -> Draining:
        self.engine.drain()
        self.view.changed()
        return Draining(True, self.engine.patience)

    def _done(self, asked: Asked) -> Done:
        self.view.changed()
        topology, stage = _named(asked)
        status = self.view.stage(topology, stage, whole=False).status
        return Done(topology, stage, status.workers, status.paused)


def api_routes(api: Api, keeper: Keeper) -> list[Route]:
    """The API's routes, and its document at `/api/v1/openapi.json`."""
    operations = api.operations()
    described: dict[str, Any] = document(operations, keeper)

    async def openapi(request: Any) -> Response:
        return JSONResponse(described)

    return [Route(f"{PREFIX}/openapi.json", openapi, methods=["GET"]), *routes(operations, keeper)]


def _named(asked: Asked) -> tuple[str, str]:
    """The topology and the stage that the path names."""
    return asked.request.path_params["topology"], asked.request.path_params["stage"]
