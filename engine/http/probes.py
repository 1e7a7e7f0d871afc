"""`/livez`, `/readyz`, `/startupz`: 200 or 503, and in JSON why; what they say is `Engine.health()`'s."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from actors import redact
from engine.engine import Engine
from engine.health.health import Health
from engine.http.auth import Keeper

Probe = Literal["livez", "readyz", "startupz"]
JUDGED: dict[Probe, Callable[[Health], bool]] = {
    "livez": lambda health: health.alive,
    "readyz": lambda health: health.ready,
    "startupz": lambda health: health.started,
}
"""What each asks. `livez` turns false only where a restart could help, so never because of a broker."""

GUARDED = "reading is guarded here: its reasons are told to those with the token"


def routes(engine: Engine, keeper: Keeper) -> Sequence[Route]:
    """The three, each also with `?verbose`, which tells how every stage is.

    They answer everybody. Who may not read is told neither reasons nor stages, which have names in them.
    """
    return [Route(f"/{probe}", _endpoint(engine, probe, keeper), methods=["GET"]) for probe in JUDGED]


def judged(probe: Probe, health: Health, verbose: bool, whole: bool = True) -> tuple[HTTPStatus, dict[str, Any]]:
    """The answer of a probe: its status and its body; without names where that is not to be the `whole` of it."""
    good = JUDGED[probe](health)
    body: dict[str, Any] = {
        "probe": probe,
        "ok": good,
        "started": health.started,
        "ready": health.ready,
        "alive": health.alive,
        "draining": health.draining,
        "reasons": [] if good else [redact(reason) for reason in health.reasons] if whole else [GUARDED],
    }
    if verbose and whole:
        body["stages"] = [asdict(stage) | {"told": redact(stage.told)} for stage in health.stages]
    return HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE, body


def _endpoint(engine: Engine, probe: Probe, keeper: Keeper) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        verbose = request.query_params.get("verbose", "no").lower() not in ("no", "false", "0")
        status, body = judged(probe, engine.health(), verbose, keeper.may_read(request))
        return JSONResponse(body, status)

    return endpoint
