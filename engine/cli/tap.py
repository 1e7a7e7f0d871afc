"""`headrace tap`: watch samples of what enters and leaves the stages of a running engine."""

import json
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from engine.cli.exits import Code, CommandError
from engine.cli.options import Json
from engine.cli.remote import HERE, Remote, Token, Url


def tap(
    stage: Annotated[
        str, typer.Argument(help="A glob of `topology.stage`, or of names: 'orders.*'; all stages unless given.")
    ] = "*",
    rate: Annotated[
        int, typer.Option(envvar="HEADRACE_TAP_RATE", min=1, max=100, help="The most messages a second of each stage.")
    ] = 10,
    count: Annotated[
        int | None, typer.Option(envvar="HEADRACE_TAP_COUNT", min=1, help="End after so many samples.")
    ] = None,
    url: Url = HERE,
    token: Token = None,
    json_: Json = False,
) -> int:
    """Watch samples of what enters and leaves stages; it slows nothing. Ctrl-C ends it.

    With --json one sample a line.
    """
    console = Console(soft_wrap=True, highlight=False)
    seen = 0
    with Remote(url, token) as remote, remote.events("/tap", stage=stage, rate=rate, count=count) as samples:
        for sample in samples:
            seen += 1
            if json_:
                print(json.dumps(sample, ensure_ascii=False), flush=True)
            else:
                console.print(_line(sample))
    if count is not None and seen < count:
        raise CommandError("the engine has ended", "start it again, then tap it again", Code.UNAVAILABLE)
    return Code.DONE


def _line(sample: dict[str, Any]) -> Text:
    """Time, stage, way, key and body; on lines below the headers, and what was missed before."""
    entered = sample["way"] == "in"
    at = datetime.fromtimestamp(sample["time"]).strftime("%H:%M:%S.%f")[:-3]  # noqa: DTZ006 - shown to who sits here
    line = Text.assemble(
        (f"{at} ", "dim"),
        (f"{sample['topology']}.{sample['stage']} ", "bold"),
        ("← " if entered else "→ ", "cyan" if entered else "green"),
    )
    if sample["to"] is not None and not entered:
        line.append(f"{_plain(sample['to'])} ", "green")
    if sample["key"] is not None:
        line.append(f"{_plain(sample['key'])} ", "yellow")
    line.append(_plain(sample["body"]))
    if sample["size"] > len(sample["body"].encode()):
        line.append(f"… {sample['size']} bytes", "dim")
    if entered and sample["attempt"] > 1:
        line.append(f" try {sample['attempt']}", "red")
    for name, value in sample["headers"].items():
        line.append(f"\n    {_plain(name)}: {_plain(value)}", "dim")
    if sample["missed"]:
        line.append(f"\n    {sample['missed']} samples before this one were missed", "dim red")
    return line


def _plain(text: str) -> str:
    """Text that can do nothing to a terminal."""
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)
