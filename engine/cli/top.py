"""`headrace top`: the stages of a running engine on the terminal, as they are each second."""

import json
import sys
from typing import Annotated

import typer

from engine.cli.exits import Code
from engine.cli.options import Json
from engine.cli.plain import plain
from engine.cli.rates import ORDERS
from engine.cli.remote import HERE, Remote, Token, Url


def top(
    url: Url = HERE,
    token: Token = None,
    sort: Annotated[
        str, typer.Option(envvar="HEADRACE_TOP_SORT", help="What the stages are sorted by: flow, rate, fill or p99.")
    ] = "flow",
    json_: Json = False,
) -> int:
    """Watch the stages: how full, how fast, how slow, what fails. Keys steer what is selected.

    With --json the status once, and no more; without a terminal the table once.
    """
    if sort not in ORDERS:
        raise typer.BadParameter(f"{sort!r} is none of {', '.join(ORDERS)}", param_hint="--sort")
    with Remote(url, token) as remote:
        status = remote.status()
        if json_:
            print(json.dumps(status, indent=2))
            return Code.DONE
        if not sys.stdout.isatty():
            print(plain(status, sort))
            return Code.DONE
        from engine.cli.screen import Top  # here, as it takes a while to import

        Top(remote, status, sort).run()
    return Code.DONE
