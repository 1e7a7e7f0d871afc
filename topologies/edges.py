"""Checks of the places that a stage names: what can be read, what can be published to, and what can be a grave."""

from collections.abc import Iterable

from actors import Endpoint
from topologies.graph import Settings
from topologies.place import Where


def check_sources(sources: Iterable[Endpoint], where: Where) -> None:
    """Raise `TopologyError` for a template among what is read: there is no body yet to fill it in from."""
    for source in sources:
        if _is_template(source):
            raise where.error(
                f"takes from {source.name!r}, a template: it can be published to, and not read",
                "name one place; what reads several at once is a pattern, where the broker has them",
            )


def check_destination(endpoint: Endpoint, where: Where) -> None:
    """Raise `TopologyError` for a pattern: it is read, and what is published goes to one place."""
    if endpoint.capabilities.pattern:
        raise where.error(
            f"publishes to {endpoint.name!r}, a pattern: it can be read, and not published to",
            "name one place, or fill it in from the body's fields: {field}",
        )


def check_dead_letters(settings: Settings, sources: Iterable[Endpoint], where: Where) -> None:
    """Raise `TopologyError` where dead letters have no one place to go, or would come back as messages, for ever."""
    grave = settings.dead_letter
    if grave is None:
        return
    if grave.capabilities.pattern or _is_template(grave):
        what = "a pattern" if grave.capabilities.pattern else "a template"
        raise where.error(
            f"its dead letters go to {grave.name!r}, {what}: they are published as they came, to one place",
            "name one place, or leave dead_letter= out",
        )
    for source in sources:
        if type(grave) is type(source) and (grave.broker, grave.name) == (source.broker, source.name):
            raise where.error(
                f"its dead letters go to {grave.name}, which it takes from: they would go round for ever",
                f"leave dead_letter= out, which makes it {source.dead_letter().name}, or name another",
            )


def _is_template(endpoint: Endpoint) -> bool:
    return "{" in endpoint.name and not endpoint.capabilities.braces
