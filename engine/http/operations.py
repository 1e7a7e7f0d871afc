"""`Operation`: one thing that the API can be asked, said once; its route and its documentation are made of it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engine.control import ControlError, UnknownStage
from engine.http.auth import Keeper
from engine.http.problems import Problem

PREFIX = "/api/v1"
Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """A parameter of the query. What is not declared is refused, so that a slip is seen."""

    name: str
    about: str
    schema: Schema
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """`answer` is given what is asked, and returns what `returns` describes.

    `guarded` operations need the token; the others need it too only where reading is guarded.
    """

    method: Literal["GET", "POST"]
    path: str
    """Below `PREFIX`."""
    about: str
    answer: "Callable[[Asked], Awaitable[Any]]"
    returns: Any
    guarded: bool = False
    query: tuple[Query, ...] = ()
    body: type[BaseModel] | None = None
    problems: tuple[HTTPStatus, ...] = ()
    """Statuses of its own, beside those that anything may have."""
    at_path: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """What the function that answers is called."""
        return getattr(self.answer, "__name__", self.path).strip("_")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that has been let in: its parameters, checked, and its body."""

    request: Request
    body: Any = None
    query: dict[str, Any] = field(default_factory=dict)
    trusted: bool = False
    """Whether it brought the token."""


def routes(operations: Sequence[Operation], keeper: Keeper) -> list[Route]:
    """The routes of operations; those that are longer come first, since a stage's name may be anything."""
    return [
        Route(PREFIX + _pattern(operation.path), _endpoint(operation, keeper), methods=[operation.method])
        for operation in operations
    ]


def _pattern(path: str) -> str:
    # A name of a stage may have slashes in it; servers decode %2F before anybody can tell the two apart.
    return path.replace("{stage}", "{stage:path}")


def _endpoint(operation: Operation, keeper: Keeper) -> Callable[[Request], Awaitable[Response]]:
    adapter = TypeAdapter(operation.returns)

    async def endpoint(request: Request) -> Response:
        (keeper.check if operation.guarded else keeper.check_reading)(request)
        asked = Asked(request, await _body(operation, request), _query(operation, request), keeper.known(request))
        try:
            made = await operation.answer(asked)
        except UnknownStage as error:
            raise Problem(HTTPStatus.NOT_FOUND, str(error)) from error
        except ControlError as error:
            raise Problem(HTTPStatus.CONFLICT, str(error)) from error
        if isinstance(made, Response):
            return made
        return Response(adapter.dump_json(made), media_type="application/json")

    return endpoint


async def _body(operation: Operation, request: Request) -> BaseModel | None:
    if operation.body is None:
        return None
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body as application/json")
    try:
        return operation.body.model_validate_json(await request.body())
    except ValidationError as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, _told(error, "body")) from error


def _query(operation: Operation, request: Request) -> dict[str, Any]:
    known = {query.name: query for query in operation.query}
    given: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            names = ", ".join(known) or "none"
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"unknown parameter {name!r:.60}; known are: {names}")
        if name in given:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{name} is given twice")
        given[name] = _checked(known[name], value)
    missing = [name for name, query in known.items() if query.required and name not in given]
    if missing:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{missing[0]} is missing: {known[missing[0]].about}")
    return given


def _checked(query: Query, value: str) -> Any:
    """A parameter's value, as its schema says: text, or a whole number within bounds."""
    if query.schema["type"] == "string":
        if not query.schema.get("minLength", 0) <= len(value):
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{query.name} is empty: {query.about}")
        return value
    low, high = query.schema["minimum"], query.schema["maximum"]
    if not (value.isascii() and value.isdigit() and len(value) <= 18 and low <= int(value) <= high):
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"{query.name} is {value!r:.40}: expected a whole number from {low} to {high}",
        )
    return int(value)


def _told(error: ValidationError, where: str) -> str:
    """The first thing that is wrong with what was sent; not what was sent."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place or where}: {first['msg'].removeprefix('Value error, ')}"
