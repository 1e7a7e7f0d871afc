"""One contender in a process of its own: `python -m benchmarks.child JOB`, an `Outcome` as JSON on stdout.

It loads what it needs and begins at the first line of its input: meanwhile its source is filled. It ends when its input
does: whatever became of the one who started it, nothing is left running.
"""

import asyncio
import os
import platform
import sys
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import Any

from benchmarks.contenders import CONTENDERS, IN_PROCESS, Contender
from benchmarks.work import Job, Lap, body, decode, encode

CLIENTS = {"redis": "redis", "nats": "nats-py", "rabbitmq": "aio-pika", "kafka": "aiokafka"}


def end_with_input() -> None:
    """End this process as soon as nobody holds the other end of its input."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def loaded(job: Job, lap: Lap, contender: Contender) -> Callable[[], Coroutine[Any, Any, None]]:
    """What does its work, with all that it has to import."""
    if job.broker == IN_PROCESS:
        if contender.kind == "best":
            return partial(codec_alone, job, lap)
        return partial(import_module("benchmarks.by_headrace").run_in_process, job, lap)
    if contender.kind in ("naive", "best", "fetch", "lower"):
        import_module(f"benchmarks.by_hand_{job.broker}")
        return partial(getattr(import_module("benchmarks.loops"), contender.kind), job, lap)
    if contender.kind == "headrace":  # made before the garbage collector is set, as `headrace run` does
        module = import_module("benchmarks.by_headrace")
        return partial(module.run, job, lap, module.loaded(job, lap, contender.setting))
    return partial(import_module(f"benchmarks.by_{contender.kind}").run, job, lap, contender.setting)


async def codec_alone(job: Job, lap: Lap) -> None:
    """What any program has to do: decode, validate, encode."""
    bodies = [body(number) for number in range(job.count)]
    for raw in bodies:
        order = decode(raw)
        lap.saw(order.id)
        encode(order)
    lap.finish()


def versions(job: Job, contender: Contender) -> dict[str, str]:
    """What was measured."""
    packages = [CLIENTS[job.broker]] if job.broker in CLIENTS else []
    packages += ["faststream"] if contender.kind == "faststream" else []
    packages += ["uvloop"] if contender.uvloop else []
    found = {name: version(name) for name in [*packages, "pydantic"]}
    return {"Python": platform.python_version()} | found


def main() -> None:
    """Read the job, do it when told to, say what was measured."""
    job = Job.model_validate_json(sys.argv[1])
    contender = CONTENDERS[job.contender]
    if contender.uvloop:
        import uvloop

        make_loop = uvloop.new_event_loop
    else:
        make_loop = None
    lap = Lap(job)
    work = loaded(job, lap, contender)
    if not os.read(sys.stdin.fileno(), 1):
        return
    end_with_input()
    with asyncio.Runner(loop_factory=make_loop) as runner:
        if contender.streaming:
            from engine.collector import set_for_streams

            set_for_streams()
        runner.run(work())
    print(lap.outcome(versions(job, contender)).model_dump_json(), flush=True)


if __name__ == "__main__":
    main()
