"""The bodies of a document as JSON Schema, in draft 7 with AsyncAPI's words, and the definitions that they share."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue

from topologies.asyncapi_definitions import REF, draft7, referring, renamed
from topologies.hints import bare, members, modern, without_none

Wanted = tuple[Any, JsonSchemaMode]
"""An annotation, and whether it is read (validation) or written (serialization)."""


def variants(hint: Any) -> tuple[Any, ...]:
    """The kinds of message that a body of this annotation may be: the members of a union, None left out."""
    return tuple(Any if member is object else member for member in members(without_none(hint)))


def content_type(hint: Any) -> str | None:
    """What such a body is on the wire; None where nothing is known of it."""
    kind = bare(hint)
    if kind is Any:
        return None
    if kind is bytes:
        return "application/octet-stream"
    literal = kind is Literal and all(type(value) is str for value in hint.__args__)
    return "text/plain" if kind is str or literal else "application/json"


class Schemas:
    """The schemas of all bodies of a document, made together: two models of one name get names of their own."""

    def __init__(self, wanted: Iterable[Wanted]) -> None:
        adapters: list[tuple[int, JsonSchemaMode, TypeAdapter[Any]]] = []
        self._wanted: list[Wanted] = []
        for hint, mode in wanted:
            if self._index(hint, mode) is None:
                self._wanted.append((hint, mode))
                adapter = _adapter(hint, mode)
                if adapter is not None:
                    adapters.append((len(self._wanted) - 1, mode, adapter))
        made, rest = TypeAdapter.json_schemas(adapters, ref_template=REF + "{model}", schema_generator=_Lenient)
        definitions = {name: draft7(schema) for name, schema in rest.get("$defs", {}).items()}
        names = renamed(definitions)
        self._made = {index: referring(draft7(schema), names) for (index, _), schema in made.items()}
        self.definitions: Mapping[str, Any] = {
            names[name]: referring(schema, names) for name, schema in sorted(definitions.items())
        }
        """What goes under `components/schemas`."""

    def of(self, hint: Any, mode: JsonSchemaMode) -> dict[str, Any]:
        """The schema of a body; one that says nothing where its type cannot be told in JSON Schema."""
        index = self._index(hint, mode)
        found: dict[str, Any] = self._made.get(-1 if index is None else index, {})
        return found

    def resolved(self, schema: Any) -> dict[str, Any]:
        """The schema itself, or the definition that it refers to."""
        seen = set()
        while isinstance(schema, dict):
            parts = schema.get("allOf")
            ref = schema.get("$ref") or (parts[0].get("$ref") if parts and isinstance(parts[0], dict) else None)
            if not ref or ref in seen:
                return schema
            seen.add(ref)
            own = {word: value for word, value in schema.items() if word not in ("$ref", "allOf")}
            schema = {**self.definitions.get(ref.removeprefix(REF), {}), **own}
        return {}

    def field(self, schema: Mapping[str, Any], path: str) -> dict[str, Any]:
        """The schema of a field of such a body, by its path; an empty one where it is not known."""
        found: Any = schema
        for step in path.split("."):
            properties = self.resolved(found).get("properties")
            found = properties.get(step) if isinstance(properties, dict) else None
        return self.resolved(found)

    def _index(self, hint: Any, mode: JsonSchemaMode) -> int | None:
        # Compared one by one: not every annotation can be hashed.
        return next((at for at, known in enumerate(self._wanted) if known == (hint, mode)), None)


def schema_of(hint: Any) -> dict[str, Any]:
    """The schema of a type that shares no definitions, of a header say."""
    adapter = _adapter(hint, "validation")
    found: dict[str, Any] = {} if adapter is None else draft7(adapter.json_schema(schema_generator=_Lenient))
    return {} if "$defs" in found else found


class _Lenient(GenerateJsonSchema):
    """Says nothing, where pydantic's own would refuse, of what JSON Schema has no words for."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
        return {}

    def emit_warning(self, kind: Any, detail: str) -> None:
        """A default that is no JSON is left out, and that is all."""


def _adapter(hint: Any, mode: JsonSchemaMode) -> TypeAdapter[Any] | None:
    if hint is Any:
        return None
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(modern(hint))
        adapter.json_schema(mode=mode, schema_generator=_Lenient)
    except Exception:  # pydantic's, and whatever a type's own schema hook raises
        return None
    return adapter
