"""Errors over HTTP: `Problem`, and its form on the wire, application/problem+json (RFC 9457)."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

logger = logging.getLogger("headrace.http")
MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ProblemBody:
    """What is wrong with a request, as RFC 9457 has it."""

    title: str
    status: int
    detail: str
    """What was expected, and what to do."""


class Problem(Exception):
    """A request that cannot be answered as asked: its status, and in `detail` what to do."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers

    def response(self) -> Response:
        """The answer that says so."""
        body = asdict(ProblemBody(self.status.phrase, self.status, self.detail))
        return Response(json.dumps(body), self.status, self.headers, MEDIA_TYPE)


def on_problem(request: Request, error: Exception) -> Response:
    """For starlette: a `Problem` as its answer."""
    assert isinstance(error, Problem)
    return error.response()


def on_http_exception(request: Request, error: Exception) -> Response:
    """For starlette: what it says itself, in the same form."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    told = {
        HTTPStatus.NOT_FOUND: "there is nothing at this path; /api/v1/openapi.json lists what there is",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.method} means nothing here; the header Allow says what does",
    }
    return Problem(status, told.get(status, str(error.detail)), error.headers).response()


def on_error(request: Request, error: Exception) -> Response:
    """For starlette: what nobody expected. It is logged; whoever asked learns no more than that."""
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of the engine's own; its log has the traceback"
    ).response()
