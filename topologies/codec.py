"""Bodies to bytes and back: decoders compiled once by annotation, encoders found by the type of the body."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import SchemaValidator, from_json, to_json

from actors import DecodeError
from topologies.hints import accepts_none, bare, fits, members, modern, plain_class, shown, without_none

Decode = Callable[[bytes], Any]
MANY = 100
"""Past so many errors in one body they are only counted: listing them would cost more than the body."""


@dataclass(frozen=True, slots=True)
class Codec:
    """What becomes a body of one annotated type.

    `decode` takes the bytes as they came, `convert` the body that another stage made; both raise `DecodeError`.
    `opaque` says why nothing can be decoded to that type; it is empty where something can.
    """

    hint: Any
    decode: Decode
    convert: Callable[[Any], Any]
    opaque: str = ""
    direct: Decode | None = None
    """What is behind `decode`, where that is one plain call; whoever calls it passes its errors to `refusal`."""

    def adapter(self, offered: Any) -> Callable[[Any], Any] | None:
        """What a body declared as `offered` has to pass through; None where it fits as it is."""
        return None if fits(offered, self.hint) else self.convert


def codec(hint: Any) -> Codec:
    """The codec for bodies annotated so."""
    if hint is Any:
        return Codec(hint, _refusing(_validator(Any).validate_json), as_is)
    try:
        validator = _validator(hint)
    except Exception as error:  # pydantic, and whatever a type's own schema hook raises
        return _opaque(hint, shorten(error))
    decode = _decoder(hint, validator)
    direct = validator.validate_json if _plain_json(hint) else None
    return Codec(hint, decode, _converter(hint, validator, decode), direct=direct)


def _validator(hint: Any) -> SchemaValidator:
    adapter: TypeAdapter[Any] = TypeAdapter(modern(hint))
    if not adapter.pydantic_complete:
        adapter.rebuild(raise_errors=True)
    # Typed as a union with the wrapper that pydantic's plugins put around it; both have the same methods.
    validator: Any = adapter.validator
    return validator  # type: ignore[no-any-return]


def as_is(body: Any) -> Any:
    """The same."""
    return body


def decode_text(raw: bytes) -> str:
    """UTF-8 to text; `DecodeError` says where it is none."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"the body is not UTF-8 text: {error.reason} at byte {error.start}") from None


def guess(raw: bytes) -> Any:
    """A body of a type that nobody names: what it is as JSON, else as text, else the bytes as they came."""
    try:
        return from_json(raw)
    except ValueError:
        pass
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _decoder(hint: Any, validator: SchemaValidator) -> Decode:
    if hint is bytes or hint is str:
        return as_is if hint is bytes else decode_text
    kinds = {_kind(member) for member in members(without_none(hint))}
    if kinds == {bytes}:
        decode = _refusing(validator.validate_python)
    elif kinds == {str}:
        decode = _refusing(lambda raw: validator.validate_python(decode_text(raw)))
    elif str in kinds:
        decode = _refusing(partial(_json_or_text, validator))
    else:
        decode = _refusing(validator.validate_json)
    # Nothing at all (a tombstone, where a broker has them) is what None is published as.
    return (lambda raw: decode(raw) if raw else None) if accepts_none(hint) else decode


def _plain_json(hint: Any) -> bool:
    """Whether every body of that type is JSON, and never nothing at all."""
    return not accepts_none(hint) and not {bytes, str} & {_kind(member) for member in members(hint)}


def _kind(hint: Any) -> Any:
    """The type that its values have when they are published: of text literals, text."""
    literal = get_origin(hint) is Literal and all(type(value) is str for value in get_args(hint))
    return str if literal else bare(hint)


def _json_or_text(validator: SchemaValidator, raw: bytes) -> Any:
    """Text is published as it is, so what is no JSON may still be the text of a union."""
    try:
        return validator.validate_json(raw)
    except ValidationError:
        return validator.validate_python(decode_text(raw))


def _refusing(validate: Decode) -> Decode:
    def decode(raw: bytes) -> Any:
        try:
            return validate(raw)
        except Exception as error:
            refused = refusal(error)
        raise refused

    return decode


def refusal(error: Exception) -> DecodeError:
    """What `decode` raises where what is behind it raised this."""
    if isinstance(error, DecodeError):
        return error
    if isinstance(error, ValidationError):
        return DecodeError(reason(error))
    # A validator of the user's model.
    refused = DecodeError(f"the body's validator raised {type(error).__name__}: {shorten(error)}")
    refused.__cause__ = error
    return refused


def _converter(hint: Any, validator: SchemaValidator, decode: Decode) -> Callable[[Any], Any]:
    """A body of another stage arrives as it would have come through a broker, without the way through bytes."""
    kind = plain_class(hint)
    validate = validator.validate_python

    def convert(body: Any) -> Any:
        if kind is not None and isinstance(body, kind):
            return body
        try:
            return validate(body, from_attributes=True)
        except ValidationError as error:
            why = reason(error)
        except Exception as error:
            why = f"{type(error).__name__}: {shorten(error)}"
        try:
            return decode(encode(body) or b"")
        except Exception:
            raise _mismatch(body, hint, why) from None

    return convert


def _opaque(hint: Any, why: str) -> Codec:
    """For a type that pydantic does not know: stages may still hand such objects to one another."""
    kind = plain_class(bare(hint))

    def decode(raw: bytes) -> Any:
        raise DecodeError(f"nothing can be decoded to {shown(hint)}: {why}")

    def convert(body: Any) -> Any:
        if kind is None or isinstance(body, kind):
            return body
        raise _mismatch(body, hint, "not an instance of it")

    return Codec(hint, decode, convert, why)


def _mismatch(body: Any, hint: Any, why: str) -> DecodeError:
    return DecodeError(f"a body of type {type(body).__name__} came where {shown(hint)} is declared: {why}")


def shorten(text: object, limit: int = 160) -> str:
    """One line of at most so many characters: a body is never echoed whole."""
    try:
        words = str(text)
    except Exception as unspeakable:  # an error of the user's own class
        words = f"its text cannot be had: {type(unspeakable).__name__}"
    line = " ".join(words[: limit * 4].split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def reason(error: ValidationError) -> str:
    """What was expected where, in one short line: `customer: Field required; total: Input should be ...`."""
    count = error.error_count()
    if count > MANY:
        return f"{count} values are not what {error.title} declares"
    told = error.errors(include_url=False, include_context=False, include_input=False)[:3]
    parts = []
    for one in told:
        path = ".".join(shorten(step, 40) for step in one["loc"][:8])
        parts.append(f"{path}: {shorten(one['msg'])}" if path else shorten(one["msg"]))
    more = f"; and {count - len(told)} more" if count > len(told) else ""
    return "; ".join(parts) + more


class _Encoders(dict[type, Callable[[Any], bytes | None]]):
    """Encoders by type, each made when the first body of that type is published."""

    def __missing__(self, kind: type) -> Callable[[Any], bytes | None]:
        made = self[kind] = _encoder(kind)
        return made


def _encoder(kind: type) -> Callable[[Any], bytes | None]:
    serializer = getattr(kind, "__pydantic_serializer__", None)
    if serializer is None:
        # JSON has no NaN and no infinity: null, as pydantic's models have it.
        return partial(to_json, inf_nan_mode="null")
    config = getattr(kind, "model_config" if issubclass(kind, BaseModel) else "__pydantic_config__", None)
    # By alias, because that is the name by which the same model reads it again.
    return partial(serializer.to_json, by_alias=(config or {}).get("serialize_by_alias", True))


_encoders = _Encoders(
    {bytes: as_is, bytearray: bytes, memoryview: bytes, str: str.encode, type(None): lambda body: None}
)


def encode(body: Any) -> bytes | None:
    """The bytes that a body is published as: bytes as they are, text as UTF-8, all else as JSON.

    None stays None: no body at all, a tombstone where the broker has them. Raises `TypeError` for what
    cannot be encoded.
    """
    try:
        return _encoders[type(body)](body)
    except Exception as error:
        refused = unpublishable(body, error)
    raise refused


def encoder_of(kind: type) -> Callable[[Any], bytes | None]:
    """What `encode` does with bodies of one type; whoever calls it passes its errors to `unpublishable`."""
    return _encoders[kind]


def unpublishable(body: Any, error: BaseException) -> TypeError:
    """What `encode` raises where what is behind it raised this."""
    return TypeError(f"a body of type {type(body).__name__} cannot be published: {shorten(error)}")
