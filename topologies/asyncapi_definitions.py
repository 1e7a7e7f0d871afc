"""Schemas as pydantic makes them, turned into what AsyncAPI takes: draft 7, and definitions by names that please."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json, to_json

from topologies.asyncapi_names import Names

REF = "#/components/schemas/"
"""What a reference to a definition begins with."""
_MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_DATA = frozenset({"default", "examples", "example", "enum", "const"})
_READ, _WRITTEN = "-Input", "-Output"
"""What pydantic adds to the names of a model that is read and written, where the two are not the same."""


def draft7(schema: Any) -> Any:
    """A schema of pydantic's, which are of draft 2020-12, in draft 7 and with AsyncAPI's `discriminator`."""
    if isinstance(schema, list):
        return [draft7(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {}
    for word, value in schema.items():
        if word in _DATA or word.startswith("x-"):
            made[word] = as_data(value)
        elif word in _MAPS and isinstance(value, dict):
            made[word] = {name: draft7(each) for name, each in value.items()}
        else:
            made[word] = draft7(value)
    if "prefixItems" in made:
        rest = made.pop("items", None)
        made["items"] = made.pop("prefixItems")
        if rest is not None:
            made["additionalItems"] = rest
    if isinstance(made.get("discriminator"), dict):
        made["discriminator"] = made["discriminator"].get("propertyName", "")
    if "$ref" in made and len(made) > 1:  # what stands beside a $ref counts for nothing in draft 7
        made = {"allOf": [{"$ref": made.pop("$ref")}], **made}
    return made


def referring(schema: Any, names: Mapping[str, str]) -> Any:
    """The schema with its references to definitions under their new names."""
    if isinstance(schema, list):
        return [referring(each, names) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {}
    for word, value in schema.items():
        if word == "$ref" and isinstance(value, str) and value.startswith(REF):
            made[word] = REF + names.get(value.removeprefix(REF), value.removeprefix(REF))
        elif word in _MAPS and isinstance(value, dict):
            made[word] = {name: referring(each, names) for name, each in value.items()}
        else:
            made[word] = value if word in _DATA else referring(value, names)
    return made


def renamed(definitions: Mapping[str, Any]) -> dict[str, str]:
    """New names for definitions: without the mode where reading and writing are alike, modules before dots."""
    bare = {name: name.removesuffix(_READ).removesuffix(_WRITTEN) for name in definitions}
    pairs = {short for short in bare.values() if {short + _READ, short + _WRITTEN} <= definitions.keys()}
    alike = {short for short in pairs if short not in definitions}
    while True:  # what holds itself, or one another, is alike as long as nothing shows that it is not
        assumed = {name: short for name, short in bare.items() if short in alike}
        read = {short: referring(definitions[short + _READ], assumed) for short in alike}
        different = {short for short in alike if read[short] != referring(definitions[short + _WRITTEN], assumed)}
        if not different:
            break
        alike -= different
    names, given = Names(), dict[str, str]()
    for name in sorted(definitions):
        short = bare[name] if bare[name] in alike else name
        if short not in given:
            given[short] = names.free(_readable(short), short)
    return {name: given[bare[name] if bare[name] in alike else name] for name in definitions}


def _readable(name: str) -> str:
    """`shop__mk___locals___Order` as `shop.mk.Order`."""
    inside = name.replace("___locals___", ".").strip("_")
    return inside.replace("____", ".").replace("__", ".")


def as_data(value: Any) -> Any:
    """A value made of what JSON knows; text of anything else."""
    try:
        return from_json(to_json(value, fallback=str, inf_nan_mode="null", bytes_mode="base64"))
    except ValueError:
        return str(value)
