"""The OpenAPI 3.1 document of the API, made of its operations and of the models that they name."""

from collections.abc import Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import TypeAdapter

from engine.http.auth import Keeper
from engine.http.operations import PREFIX, Operation
from engine.http.problems import MEDIA_TYPE, ProblemBody

REF = "#/components/schemas/{model}"
PLACES = {
    "topology": "The name of a topology.",
    "stage": "The name of a stage, percent-encoded; it may have slashes in it.",
}
TEXT = {"type": "string", "minLength": 1}
ABOUT = """\
What runs, and what it can be told. Reading needs no token unless the engine says so; what changes something, and what
shows messages, needs the one that the engine was started with. Numbers of messages count from its start."""


def document(operations: Sequence[Operation], keeper: Keeper) -> dict[str, Any]:
    """The whole document, as JSON has it."""
    named: dict[Any, TypeAdapter[Any]] = {ProblemBody: TypeAdapter(ProblemBody)}
    for operation in operations:
        for model in (operation.returns, operation.body):
            if model is not None:
                named.setdefault(model, TypeAdapter(model))
    # What is answered has all of its fields, what is asked may leave out those with a default.
    asked = {operation.body for operation in operations}
    inputs = [(model, "validation" if model in asked else "serialization", adapter) for model, adapter in named.items()]
    schemas, definitions = TypeAdapter.json_schemas(inputs, ref_template=REF)  # type: ignore[arg-type]
    references = {model: schemas[model, mode] for model, mode, _ in inputs}  # type: ignore[index]
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = _described(
            operation, references, keeper
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Headrace", "version": version("headrace"), "description": ABOUT},
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _described(operation: Operation, references: dict[Any, Any], keeper: Keeper) -> dict[str, Any]:
    guarded = operation.guarded or keeper.reading
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.about,
        "parameters": _parameters(operation),
        "responses": _responses(operation, references, guarded),
    }
    # Of one that tells more to those with the token, and something to everybody, both are true.
    described["security"] = [{"token": []}] if guarded else [{}, {"token": []}]
    if operation.body is not None:
        content = {"application/json": {"schema": references[operation.body]}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    in_path = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": about,
            "schema": {"type": "string", "minLength": 1},
        }
        for name, about in PLACES.items()
        if f"{{{name}}}" in operation.path
    ]
    in_query = [
        {"name": each.name, "in": "query", "required": each.required, "description": each.about, "schema": each.schema}
        for each in operation.query
    ]
    return in_path + in_query


def _responses(operation: Operation, references: dict[Any, Any], guarded: bool) -> dict[str, Any]:
    if operation.returns is None:
        content: dict[str, Any] = {"text/event-stream": {"schema": {"type": "string"}}}
    else:
        content = {"application/json": {"schema": references[operation.returns]}}
    responses: dict[str, Any] = {"200": {"description": "As asked.", "content": content}}
    statuses = [*operation.problems, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_TIMEOUT]
    statuses += [HTTPStatus.MISDIRECTED_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY]
    statuses += [HTTPStatus.UNSUPPORTED_MEDIA_TYPE] if operation.body is not None else []
    statuses += [HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN] if guarded else []
    for status in sorted(set(statuses)):
        described: dict[str, Any] = {
            "description": status.phrase,
            "content": {MEDIA_TYPE: {"schema": references[ProblemBody]}},
        }
        if status is HTTPStatus.UNAUTHORIZED:
            described["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
        responses[str(int(status))] = described
    return responses
