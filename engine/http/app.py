"""`http_app`: the ASGI application of an engine, put together of the features that are wanted."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from engine.engine import Engine
from engine.http import asyncapi, live, probes
from engine.http.api import Api, api_routes
from engine.http.auth import Guarded, Keeper, KnownHosts
from engine.http.events import Feed
from engine.http.limits import Bounded, Secured
from engine.http.problems import Problem, on_error, on_http_exception, on_problem
from engine.http.view import View
from topologies import Graph, Topology

GATES = {"/metrics": "metrics"}
"""Documents, and the features that they belong to."""
Renderer = Callable[[Request], Response | Awaitable[Response]]
"""Answers for a document that somebody else makes: metrics."""


@dataclass(frozen=True, slots=True)
class Features:
    """What of it is there."""

    probes: bool = True
    metrics: bool = True
    """Where `documents` has `/metrics`, which `headrace run` gives it; an app made elsewhere has none of its own."""
    asyncapi: bool = True
    page: bool = True
    api: bool = True


def http_app(
    *engine: Engine | Graph | Topology,
    token: str | None = None,
    guard_reading: bool = False,
    features: Features | None = None,
    hosts: Collection[str] | None = None,
    documents: dict[str, Renderer] | None = None,
) -> Starlette:
    """The ASGI application of an engine that runs elsewhere, or of topologies, which its own lifespan runs then.

    Whatever changes something, and whatever shows messages, needs the `token`; with `guard_reading` all but the
    probes and the page's own files does. `hosts` are the names that requests may be addressed to beside localhost and
    addresses in digits; None leaves that to the application that this one is mounted in. `documents` are further routes
    by path. Raises `ValueError` for a token of fewer than eight characters, or with others than ASCII's without blanks.
    """
    own = not any(isinstance(each, Engine) for each in engine)
    running = Engine(*(each for each in engine if not isinstance(each, Engine))) if own else _only(engine)
    wanted, keeper, view = features or Features(), Keeper(token, guard_reading), View(running)
    feed = Feed(view.snapshot, running.ended)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if own:
            async with running:
                yield
        else:
            yield

    middleware = [Middleware(Secured), Middleware(Bounded)]
    middleware += [] if hosts is None else [Middleware(KnownHosts, names=hosts)]
    app = Starlette(
        routes=_routes(running, wanted, keeper, Api(running, feed, view), documents or {}),
        middleware=middleware,
        exception_handlers={Problem: on_problem, HTTPException: on_http_exception, Exception: on_error},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.engine, app.state.feed = running, feed
    return app


def _only(given: tuple[Any, ...]) -> Engine:
    if len(given) != 1:
        raise TypeError("http_app takes one Engine, or topologies, not both")
    engine: Engine = given[0]
    return engine


def _routes(
    engine: Engine, features: Features, keeper: Keeper, api: Api, documents: dict[str, Renderer]
) -> list[BaseRoute]:
    routes: list[Route] = []
    if features.api:
        routes += api_routes(api, keeper)
    if features.asyncapi:
        routes += asyncapi.routes(engine.graphs)
    for path, renderer in documents.items():
        if getattr(features, GATES.get(path, "api")):
            routes.append(Route(path, renderer, methods=["GET"]))
    open_to_all = probes.routes(engine, keeper) if features.probes else []
    page = features.page and features.api
    if not page:
        routes.append(Route("/", _contents([*open_to_all, *routes]), methods=["GET"]))
    for route in routes:
        route.app = Guarded(route.app, keeper)
    return [*open_to_all, *routes, *(live.routes() if page else ())]


def _contents(routes: Sequence[Route]) -> Callable[[Request], Any]:
    paths = [route.path for route in routes if "{" not in route.path]

    async def contents(request: Request) -> Response:
        return JSONResponse({"paths": paths})

    return contents


FEATURES = tuple(field.name for field in fields(Features))
