"""What a broker's options are made of: a frozen model, filled from a URL and from keywords, with errors that help."""

import ssl
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from actors import TopologyError

M = TypeVar("M", bound=BaseModel)


def fill(model: type[M], kind: str, given: Mapping[str, Any], client: str, example: str) -> M:
    """The options of a broker of that kind, checked.

    Raises `TopologyError`, which lists the known options where one is unknown, and tells no value: it may be a
    password. `client` names the library that takes what goes into `client={...}`.
    """
    if unknown := [name for name in given if name not in model.model_fields]:
        close = get_close_matches(unknown[0], model.model_fields, n=1)
        hint = f"did you mean {close[0]}=? " if close else ""
        raise TopologyError(
            f"{kind} has no option {unknown[0]}=",
            remedy=f"{hint}known are: {', '.join(model.model_fields)}; what {client} takes goes into client={{...}}",
        )
    try:
        return model(**given)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise TopologyError(f"{kind}({name}=...): {first['msg']}", remedy=f"a URL is {example}") from None


def tls_context(cafile: Path | None, certfile: Path | None, keyfile: Path | None) -> ssl.SSLContext:
    """What TLS is spoken with: the system's authorities or those of `cafile`, and a certificate of one's own.

    Reads files; raises `OSError`.
    """
    context = ssl.create_default_context(cafile=cafile)
    if certfile is not None:
        context.load_cert_chain(certfile, keyfile)
    return context
