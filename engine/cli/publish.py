"""`headrace publish`: publish messages, and where the broker lives in this very process, handle them and show how."""

import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any, cast

import anyio
import typer

from actors import DEAD_LETTER_PREFIX, Endpoint, Message
from engine.cli.exits import Code, CommandError
from engine.cli.load import load
from engine.cli.options import AppDir, Json, Target
from engine.cli.trial import Trial, is_dead
from engine.telemetry import logs
from topologies import Graph

_CHUNK = 65_536
"""Bytes of stdin that are read at most at once."""


def publish(
    target: Target,
    destination: Annotated[
        str,
        typer.Argument(
            help="The name of an endpoint of the topology, `kafka:orders` where two brokers have one.",
            metavar="DESTINATION",
        ),
    ],
    body: Annotated[
        str | None,
        typer.Argument(
            help="The body; `@file` for a file's content; `-`, or nothing, for a message a line of stdin.",
            metavar="BODY",
        ),
    ] = None,
    key: Annotated[str | None, typer.Option(envvar="HEADRACE_PUBLISH_KEY", help="The key of each message.")] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            envvar="HEADRACE_PUBLISH_HEADER",
            metavar="NAME=VALUE",
            help="A header of each message; may be given more than once.",
        ),
    ] = None,
    app_dir: AppDir = Path(),
    json_: Json = False,
) -> int:
    """Publish a message, or each line of stdin as one.

    An embedded broker lives in this process alone. There the topology runs until it has handled the messages, and
    what it publishes is printed; the exit code is 1 if there is a dead letter among it.
    """
    logs.configure(level="error")
    graph = load(target, app_dir).graph()
    endpoint = _endpoint(graph, destination)
    messages = _messages(_bodies(body), endpoint.name, key, _headers(header or []))
    if endpoint.capabilities.embedded:
        return anyio.run(_on_trial, graph, endpoint, messages, json_)
    count = anyio.run(_published, endpoint, messages)
    print(json.dumps({"published": count}) if json_ else f"{count} published to {endpoint.name}")
    return Code.DONE


# -- what is published, and where ------------------------------------------------------------------------------


def _endpoint(graph: Graph, destination: str) -> Endpoint:
    """The endpoint of that name; one in this process only where something of the topology takes from it."""
    taken = [source for stage in graph.stages for source in stage.sources]
    made = [stage.endpoint for stage in graph.stages if stage.endpoint is not None and "{" not in stage.endpoint.name]
    there = [*taken, *(endpoint for endpoint in made if not endpoint.capabilities.embedded)]
    meant = [each for each in there if destination in (each.name, f"{each.broker.system}:{each.name}")]
    if not meant:
        names = ", ".join(dict.fromkeys(f"{each.broker.system}:{each.name}" for each in there)) or "nothing"
        raise CommandError(f"{destination}: {graph.name} takes nothing from there", f"it takes from {names}")
    if any(each.broker is not meant[0].broker for each in meant):
        names = ", ".join(dict.fromkeys(f"{each.broker.system}:{each.name}" for each in meant))
        raise CommandError(f"{destination}: on more than one broker", f"name one of {names}")
    others = [each for each in taken if not each.capabilities.embedded]
    if meant[0].capabilities.embedded and others:
        raise CommandError(
            f"{destination}: to handle it the topology would have to run, and take from {others[0].name} too",
            "try it with a Harness in a test instead",
        )
    return meant[0]


def _headers(given: list[str]) -> dict[str, str | bytes]:
    headers: dict[str, str | bytes] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise CommandError(f"--header {text}: expected name=value", "write --header tenant=7")
        headers[name] = value
    return headers


async def _messages(
    bodies: AsyncIterator[list[bytes]], destination: str, key: str | None, headers: Mapping[str, str | bytes]
) -> AsyncIterator[list[Message]]:
    async for run in bodies:
        messages = [Message(raw=raw, key=key, headers=dict(headers)) for raw in run]
        for message in messages:
            message.destination = destination
        yield messages


def _bodies(given: str | None) -> AsyncIterator[list[bytes]]:
    if given is None and sys.stdin.isatty():
        raise CommandError("no body", "write one, or @file, or pipe a message a line into the command")
    if given is None or given == "-":
        return _lines()
    if not given.startswith("@"):
        return _once(os.fsencode(given))
    try:
        return _once(Path(given[1:]).read_bytes())
    except OSError as error:
        raise CommandError(f"{given[1:]}: cannot be read: {error.strerror}", "write @path/to/file") from error


async def _once(raw: bytes) -> AsyncIterator[list[bytes]]:
    yield [raw]


async def _lines() -> AsyncIterator[list[bytes]]:
    """The lines of stdin as they come, as many at once as are there; empty ones are left out."""
    rest = b""
    read = cast(BufferedReader, sys.stdin.buffer).read1
    while chunk := await anyio.to_thread.run_sync(read, _CHUNK, abandon_on_cancel=True):
        *lines, rest = (rest + chunk).split(b"\n")
        if run := [line for line in lines if line.strip()]:
            yield run
    if rest.strip():
        yield [rest]


# -- what becomes of it ----------------------------------------------------------------------------------------


async def _published(endpoint: Endpoint, runs: AsyncIterator[list[Message]]) -> int:
    count = 0
    sink = endpoint.sink()
    await sink.open()
    try:
        async for run in runs:
            await sink.publish(run)
            count += len(run)
    finally:
        await sink.close()
    return count


async def _on_trial(graph: Graph, endpoint: Endpoint, runs: AsyncIterator[list[Message]], as_json: bool) -> int:
    """Run the topology with these messages, print what it publishes, and count."""
    dead = out = 0

    def show(message: Message) -> None:
        nonlocal dead, out
        dead, out = (dead + 1, out) if is_dead(message) else (dead, out + 1)
        print(json.dumps(_as_json(message), ensure_ascii=False) if as_json else _as_text(message))

    trial = Trial(graph, endpoint, show)
    await trial.run(runs)
    if not as_json:
        print(f"{trial.fed} published to {endpoint.name}, {out} came out, {dead} dead")
    return Code.FAILED if dead else Code.DONE


def _as_text(message: Message) -> str:
    where = message.destination if message.key is None else f"{message.destination} [{_text(message.key)}]"
    body = (message.raw or b"").decode(errors="backslashreplace")
    if not is_dead(message):
        return f"→ {where}  {body}"
    told = {name: _text(value) for name, value in (message.headers or {}).items()}
    kind, reason, stage = (told[f"{DEAD_LETTER_PREFIX}{name}"] for name in ("error-type", "reason", "stage"))
    return f"✗ {where}  {body}\n    dead in {stage}: {kind}: {reason}"


def _as_json(message: Message) -> dict[str, Any]:
    raw = message.raw or b""
    try:
        body = json.loads(raw)
    except ValueError:
        body = raw.decode(errors="backslashreplace")
    headers = {name: _text(value) for name, value in (message.headers or {}).items()}
    key = None if message.key is None else _text(message.key)
    return {"destination": message.destination, "key": key, "headers": headers, "body": body, "dead": is_dead(message)}


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode(errors="backslashreplace")
