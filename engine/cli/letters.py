"""`headrace dead` of a running engine, through its HTTP API: the embedded broker's dead letters too."""

import json
from typing import Any

from engine.cli.exits import Code, CommandError
from engine.cli.remote import Remote

MOST = 1000
"""The most letters of each source that the API lists at once."""


def is_engine(target: str) -> bool:
    """Whether a target is the URL of an engine, and no module or file."""
    return target.startswith(("http://", "https://"))


def listed(url: str, token: str | None, source: str | None, limit: int) -> list[dict[str, Any]]:
    """The dead letters, the oldest first."""
    with Remote(url, token) as remote:
        found: list[dict[str, Any]] = remote.get("/dead", "letters", source=source, limit=min(limit, MOST))["letters"]
        return found


def whole(url: str, token: str | None, position: str, source: str | None, limit: int) -> dict[str, Any]:
    """One dead letter with all that it has."""
    with Remote(url, token) as remote:
        found: dict[str, Any] = remote.get("/dead/letter", position=position, source=source, limit=min(limit, MOST))
        return found


def redriven(url: str, token: str | None, source: str | None, reason: str | None, limit: int, as_json: bool) -> int:
    """Have dead letters put back, and say how many of each topology were; 1 where any was refused."""
    with Remote(url, token) as remote:
        meant = _meant(remote, source)
        results = {
            topology: remote.post("/dead/redrive", topology=topology, source=source, reason=reason, limit=limit)
            for topology in meant
        }
    if as_json:
        print(json.dumps(results, indent=2))
    else:
        for topology, each in results.items():
            print(f"{topology}: {each['redriven']} put back, {each['refused']} refused, {each['left']} left")
    return Code.FAILED if any(each["refused"] for each in results.values()) else Code.DONE


def _meant(remote: Remote, source: str | None) -> list[str]:
    """The topologies that take from a source, or whose dead letters lie there. Raises `CommandError` for none."""
    topologies: list[str] = remote.status()["topologies"]
    if source is None:
        return topologies
    known: dict[str, list[dict[str, Any]]] = {
        topology: remote.get("/dead", "graves", topology=topology, limit=1)["graves"] for topology in topologies
    }
    meant = [name for name, graves in known.items() if any(source in (it["source"], it["endpoint"]) for it in graves)]
    if not meant:
        names = ", ".join(grave["source"] for graves in known.values() for grave in graves)
        raise CommandError(f"{source}: no source of that name", f"it takes from {names}")
    return meant
