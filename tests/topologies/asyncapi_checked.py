"""Documents held against AsyncAPI's own JSON schema, and read by AsyncAPI's own parser."""

import json
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator
from jsonschema.exceptions import best_match

from tests.servers import programs

_PARSE = Path(__file__).with_name("asyncapi_parse.cjs")


def against_schema(document: dict[str, Any]) -> list[str]:
    """What the official JSON schema finds wrong."""
    found = best_match(_validator().iter_errors(document))
    return [] if found is None else [f"{found.json_path}: {found.message}"]


@cache
def _validator() -> Draft7Validator:
    schemas = programs.asyncapi() / "specs" / "schemas"
    return Draft7Validator(json.loads((schemas / "3.1.0.json").read_text(encoding="utf-8")))


def by_parser(documents: Sequence[str]) -> list[list[str]]:
    """What the official parser has to say of each document, JSON or YAML: errors, warnings and hints."""
    done = subprocess.run(
        [programs.node(), _PARSE, programs.asyncapi()],
        input=json.dumps(documents),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: list[list[str]] = json.loads(done.stdout)
    return said
