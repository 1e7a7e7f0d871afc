"""What a handler asks for, and what all that it depends on asks for: compiled to fills and steps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from topologies.hints import shown
from topologies.inject import (
    AnyLogger,
    Context,
    Depends,
    Fill,
    Header,
    Want,
    default,
    injected,
    marker,
    provided,
)
from topologies.place import Where
from topologies.signature import MISSING, Form, Parameter, form_of, generator_of, name_of, signature_of

FILLABLE = "fill it by type (Message, Logger, Annotated[T, Depends(f)], Header, Context) or give it a default"


@dataclass(frozen=True, slots=True)
class Step:
    """A dependency: how to call it, what it asks for, and which slot of the frame takes what it provides."""

    slot: int
    function: Callable[..., Any]
    form: Form
    wants: tuple[Want, ...]


@dataclass(slots=True)
class Wants:
    """Compiles what functions ask for, and collects their dependencies in the order in which these have to run.

    `names` are those local to where the stage was declared.
    """

    where: Where
    names: Mapping[str, Any]
    steps: list[Step] = field(default_factory=list)
    _cached: list[tuple[object, int]] = field(default_factory=list)
    _inside: list[object] = field(default_factory=list)

    def of(self, parameters: Sequence[Parameter], owner: str) -> tuple[Want, ...]:
        """What these parameters ask for. Raises `TopologyError` for one that nothing fills and that has no default."""
        found = [self._want(parameter, owner) for parameter in parameters]
        while found and found[-1].kind == "default":
            found.pop()
        return tuple(found)

    def all(self, own: Sequence[Want]) -> Iterator[Want]:
        """What a function asks for itself, and what its dependencies do."""
        yield from own
        for step in self.steps:
            yield from step.wants

    def _want(self, parameter: Parameter, owner: str) -> Want:
        found = marker(parameter)
        if isinstance(found, Depends):
            return provided(parameter, self._slot(found))
        want = injected(parameter, self.where)
        if want is not None:
            return want
        if isinstance(parameter.default, Depends | Header | Context):
            kind = type(parameter.default).__name__
            raise self.where.error(
                f"`{parameter.name}` of {owner} has {kind}(...) as its default",
                f"write it into the annotation: {parameter.name}: Annotated[T, {kind}(...)]",
            )
        if parameter.default is not MISSING:
            return default(parameter)
        what = f"`{parameter.name}: {shown(parameter.hint)}`" if parameter.annotated else f"`{parameter.name}`"
        raise self.where.error(f"nothing fills parameter {what} of {owner}", FILLABLE)

    def _slot(self, depends: Depends) -> int:
        function = depends.function
        if not callable(function):
            raise self.where.error(
                f"Depends({function!r:.60}) names nothing that can be called", "name a function, without calling it"
            )
        if function in self._inside:
            circle = [*self._inside[self._inside.index(function) :], function]
            raise self.where.error(
                f"its dependencies depend on each other: {' -> '.join(map(name_of, circle))}",
                "break the circle: let one of them take Message instead",
            )
        if depends.use_cache:
            for known, slot in self._cached:
                if known == function:
                    return slot
        return self._new_slot(depends)

    def _new_slot(self, depends: Depends) -> int:
        self._inside.append(depends.function)
        function = generator_of(depends.function)
        signature = signature_of(function, self.where, self.names)
        wants = self.of(signature.parameters, f"dependency {name_of(function)}")
        self._inside.pop()
        slot = len(self.steps) + 1
        self.steps.append(Step(slot, function, form_of(function), wants))
        if depends.use_cache:
            self._cached.append((depends.function, slot))
        return slot


def arrange(
    function: Callable[..., Any],
    wants: Sequence[Want],
    context: Mapping[str, Any],
    logger: AnyLogger,
    framed: bool,
) -> Callable[[Any], Any]:
    """A function of the message (or frame) that calls `function` with all that it asks for, and does nothing else."""
    if not framed and [(want.kind, want.parameter.named) for want in wants] == [("body", False)]:
        return lambda message: function(message.body)
    fitted = [(want.parameter, _fitted(want, context, logger, framed)) for want in wants]
    placed = tuple(fill for parameter, fill in fitted if not parameter.named)
    named = tuple((parameter.name, fill) for parameter, fill in fitted if parameter.named)
    if not named:
        return lambda given: function(*[fill(given) for fill in placed])
    return lambda given: function(*[fill(given) for fill in placed], **{name: fill(given) for name, fill in named})


def _fitted(want: Want, context: Mapping[str, Any], logger: AnyLogger, framed: bool) -> Fill:
    fill = want.fit(context, logger)
    if not framed or want.kind == "dependency":
        return fill
    return lambda frame: fill(frame[0])
