"""The names in an AsyncAPI document: letters, digits, dots, hyphens and underscores, each given once."""

import re
from collections.abc import Iterable
from string import Formatter

_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")
_SAID = str.maketrans({"{": None, "}": None, "*": "any", ">": "all"})


def safe(text: str) -> str:
    """The text as a key that a `$ref` may end in: `tenant.{id}` is `tenant.id`, `orders.*` is `orders.any`."""
    found = _UNSAFE.sub("_", text.translate(_SAID))
    return found.strip("_") or "_"


class Names:
    """Gives each name once: who comes second gets `orders-2`."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def free(self, *wishes: str) -> str:
        """The first of the wishes that is free, or the last one with a number."""
        for wish in map(safe, wishes):
            if wish not in self._taken:
                self._taken.add(wish)
                return wish
        count = 2
        while (numbered := f"{safe(wishes[-1])}-{count}") in self._taken:
            count += 1
        self._taken.add(numbered)
        return numbered


def parameterized(address: str) -> tuple[str | None, dict[str, str]]:
    """An address whose fields are parameters of AsyncAPI, and the path of the field behind each.

    None where braces that are no parameter's stand in it: AsyncAPI has no way to write these.
    """
    made, fields, names = "", dict[str, str](), Names()
    known: dict[str, str] = {}
    for before, field, _, _ in Formatter().parse(address):
        if "{" in before or "}" in before:
            return None, {}
        made += before
        if field:
            name = known.get(field) or names.free(field.replace(".", "_"))
            known[field] = name
            fields[name] = field
            made += f"{{{name}}}"
    return made, fields
