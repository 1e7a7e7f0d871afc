"""`headrace pause`, `resume` and `scale`: steer a running engine."""

import json
from typing import Annotated, Any

import typer

from engine.cli.exits import Code, CommandError
from engine.cli.options import Json
from engine.cli.remote import HERE, Refused, Remote, Token, Url, stage_path

CONFLICT = 409
Stage = Annotated[
    str,
    typer.Argument(help="`topology.stage`, or its name alone, or a glob of either: 'orders.*'.", metavar="STAGE"),
]


def pause(stage: Stage, url: Url = HERE, token: Token = None, json_: Json = False) -> int:
    """Have stages fetch nothing more until they are resumed; what was fetched goes on."""
    return _tell(stage, "pause", url, token, json_)


def resume(stage: Stage, url: Url = HERE, token: Token = None, json_: Json = False) -> int:
    """Have paused stages fetch again."""
    return _tell(stage, "resume", url, token, json_)


def scale(
    stage: Stage,
    workers: Annotated[str, typer.Argument(help="How many workers; `auto` where the pool finds its own size.")],
    url: Url = HERE,
    token: Token = None,
    json_: Json = False,
) -> int:
    """Have that many workers in the pool of a stage."""
    if workers != "auto" and not (workers.isascii() and workers.isdigit()):
        raise CommandError(f"{workers!r:.40} is no number of workers", "write a number, or auto")
    return _tell(stage, "scale", url, token, json_, workers="auto" if workers == "auto" else int(workers))


def _tell(stage: str, does: str, url: str, token: str | None, as_json: bool, **body: Any) -> int:
    done = []
    with Remote(url, token) as remote:
        meant = remote.stages(stage)
        for each in meant:
            try:
                done.append(remote.post(stage_path(*each, does), **body))
            except Refused as refused:
                # Of several that a glob matches, some may not be what can be told that.
                if refused.status != CONFLICT or (each is meant[-1] and not done):
                    raise
    if as_json:
        print(json.dumps(done, indent=2))
        return Code.DONE
    for each in done:
        state = "paused" if each["paused"] else "running"
        workers = f"{each['workers']} worker{'' if each['workers'] == 1 else 's'}"
        print(f"{each['topology']}.{each['stage']}: {state}, {workers}")
    return Code.DONE
