"""`headrace dead` of a running engine, through its HTTP API: the embedded broker's dead letters too."""

import json
from typing import Any

from engine.cli.exits import Code
from engine.cli.remote import Remote

MOST = 1000
"""The most letters of each source that the API lists at once."""


def is_engine(target: str) -> bool:
    """Whether a target is the URL of an engine, and no module or file."""
    return target.startswith(("http://", "https://"))


def listed(url: str, token: str | None, source: str | None, limit: int) -> list[dict[str, Any]]:
    """The dead letters, the oldest first."""
    with Remote(url, token) as remote:
        found: list[dict[str, Any]] = remote.get("/dead", source=source, limit=min(limit, MOST))["letters"]
        return found


def whole(url: str, token: str | None, position: str, source: str | None, limit: int) -> dict[str, Any]:
    """One dead letter with all that it has."""
    with Remote(url, token) as remote:
        found: dict[str, Any] = remote.get("/dead/letter", position=position, source=source, limit=min(limit, MOST))
        return found


def redriven(url: str, token: str | None, source: str | None, reason: str | None, limit: int, as_json: bool) -> int:
    """Have dead letters put back, and say how many of each topology were; 1 where any was refused."""
    with Remote(url, token) as remote:
        results = {
            topology: remote.post("/dead/redrive", topology=topology, source=source, reason=reason, limit=limit)
            for topology in remote.get("/status")["topologies"]
            if source is None or source in _sources(remote, topology)
        }
    if as_json:
        print(json.dumps(results, indent=2))
    else:
        for topology, each in results.items():
            print(f"{topology}: {each['redriven']} put back, {each['refused']} refused, {each['left']} left")
    return Code.FAILED if any(each["refused"] for each in results.values()) else Code.DONE


def _sources(remote: Remote, topology: str) -> set[str]:
    """Where a topology takes from, and where its dead letters lie."""
    graves = remote.get("/dead", topology=topology, limit=1)["graves"]
    return {name for grave in graves for name in (grave["source"], grave["endpoint"])}
