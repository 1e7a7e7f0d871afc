"""What the API says and hears, as types; the OpenAPI document is made of them."""

from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from actors import State, redact
from engine.deadletters import Head
from engine.health.health import StageHealth
from engine.health.status import StageStatus
from topologies import MOST_WORKERS


@dataclass(frozen=True, slots=True)
class StageView(StageStatus):
    """One stage at one moment, and how it goes on."""

    health: StageHealth | None = None


@dataclass(frozen=True, slots=True)
class EngineView:
    """The engine as a whole; `reasons` say why it is not ready, or not alive."""

    version: str
    started: bool
    ready: bool
    alive: bool
    draining: bool
    reasons: tuple[str, ...]
    since: float
    """When it was made; seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Status:
    """The engine, its topologies by name, and all of their stages, sources first."""

    time: float
    """Seconds since the epoch."""
    engine: EngineView
    topologies: tuple[str, ...]
    stages: tuple[StageView, ...]


@dataclass(frozen=True, slots=True)
class LinkView:
    """A connection to a broker: `error` is what the broker said last, while it is not connected."""

    what: str
    connected: bool
    failures: int
    error: str | None


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One supervised worker."""

    name: str
    state: State
    restarts: int


@dataclass(frozen=True, slots=True)
class SupervisorView:
    """Who supervises the workers of a stage, by which policy, and how often it had to act."""

    strategy: str
    intensity: int
    period: float
    restarts: int
    workers: tuple[WorkerView, ...]


@dataclass(frozen=True, slots=True)
class ErrorView:
    """A kind of error of a stage. Without the token `text` and `traceback` are null: they may quote messages."""

    type: str
    place: str
    """`file:line` of where it was raised."""
    count: int
    first: float
    last: float
    """Seconds since the epoch."""
    text: str | None
    traceback: str | None


@dataclass(frozen=True, slots=True)
class StageDetail:
    """A stage with what it was declared with, where, who supervises it, and what went wrong lately."""

    status: StageView
    place: str
    description: str
    settings: dict[str, Any]
    sources: tuple[str, ...]
    upstream: tuple[str, ...]
    downstream: tuple[str, ...]
    destination: str | None
    links: tuple[LinkView, ...]
    supervisor: SupervisorView
    errors: tuple[ErrorView, ...]


@dataclass(frozen=True, slots=True)
class Graphs:
    """Each topology drawn as data, in the form of `headrace graph --format json`, and in pixels how large the picture
    is (`width`, `height`), where each node is in it (`x`, `y`, `width`, `height`), and each edge (`points`).
    """

    topologies: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Done:
    """What was asked for is so now."""

    topology: str
    stage: str
    workers: int
    paused: bool


@dataclass(frozen=True, slots=True)
class Draining:
    """The engine drains: it ends when it is done, at the latest after that many seconds."""

    draining: bool
    within: float


@dataclass(frozen=True, slots=True)
class GraveView:
    """Where the dead letters of one source lie."""

    topology: str
    stage: str
    source: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class LetterBrief(Head):
    """A dead letter in a list. `size` and `preview` are in characters of the body."""

    size: int
    preview: str


@dataclass(frozen=True, slots=True)
class LetterWhole(Head):
    """A dead letter with all that it has. `cut`: its body is longer than what is shown."""

    size: int
    traceback: str
    headers: dict[str, str]
    body: str
    cut: bool


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Dead letters, the oldest first, and the places they were looked for in."""

    graves: tuple[GraveView, ...]
    letters: tuple[LetterBrief, ...]


@dataclass(frozen=True, slots=True)
class RedriveResult:
    """What came of putting dead letters back; those that the source refused, or that were not meant, stay."""

    redriven: int
    refused: int
    left: int


class Asked(BaseModel):
    """A body of a request: nothing in it that nobody reads."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""To JSON 3.0 is a whole number, and "3" is none."""


class Scale(Asked):
    """How many workers; `auto` lets a pool that finds its own size do so again."""

    workers: Annotated[int, Field(ge=1, le=MOST_WORKERS), WHOLE] | Literal["auto"]

    @field_validator("workers", mode="wrap")
    @classmethod
    def _in_words(cls, value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        try:
            return validate(value)
        except ValidationError as error:
            told = f'expected 1 to {MOST_WORKERS} workers, or "auto"; to stop the work of a stage, pause it'
            raise ValueError(told) from error


class Redrive(Asked):
    """Which dead letters go back: of a topology, of one source of it, whose reason matches a glob."""

    topology: str = Field(min_length=1)
    source: str | None = None
    reason: str | None = None
    limit: Annotated[int, Field(ge=1, le=1_000_000), WHOLE] = 10_000


STAGE_FIELDS = tuple(field.name for field in fields(StageStatus))


def stage_view(status: StageStatus, health: StageHealth | None) -> StageView:
    """A stage's status and health as one, without any password that a broker may have quoted."""
    told = None if health is None else replace(health, told=redact(health.told))
    return StageView(**{name: getattr(status, name) for name in STAGE_FIELDS}, health=told)
