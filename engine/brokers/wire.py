"""What a key and headers look like after a wire: text where they are UTF-8, bytes where they are not."""

from collections.abc import Mapping

from actors import Headers


def text(value: object, what: str) -> str | bytes:
    """A key or a header's value as it arrives; TypeError or ValueError where no wire could carry it."""
    if isinstance(value, str):
        value.encode()  # raises where it holds half a surrogate pair
        return value
    if not isinstance(value, bytes):
        raise TypeError(f"{what} is {type(value).__name__}: expected str or bytes")
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def headers(given: Headers) -> dict[str, str | bytes]:
    """Headers as they arrive, in a dict of their own; TypeError or ValueError where no wire could carry them."""
    if type(given) is not dict and not isinstance(given, Mapping):
        raise TypeError(f"the headers are {type(given).__name__}: expected a mapping of names to str or bytes")
    for name, value in given.items():
        if type(name) is not str or type(value) is not str or not value.isascii():
            break
    else:  # as nearly always
        return dict(given)
    for name in given:
        if not isinstance(name, str):
            raise TypeError(f"the name of header {name!r} is {type(name).__name__}: expected str")
    return {name: text(value, f"header {name}") for name, value in given.items()}
