"""An AsyncAPI document as text: JSON, YAML, and a page that works without a network."""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any, Literal

DocumentFormat = Literal["json", "yaml", "html"]
_IN_SCRIPT = str.maketrans({sign: f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"})


def render(document: Mapping[str, Any], format: DocumentFormat) -> str:
    """The document in that form, ending with a newline."""
    return _FORMS[format](document)


def as_json(document: Mapping[str, Any]) -> str:
    """JSON, indented."""
    return _encodable(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def as_yaml(document: Mapping[str, Any]) -> str:
    """YAML, in the order of the document and without aliases."""
    import yaml

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    return yaml.dump(document, Dumper=Plain, sort_keys=False, allow_unicode=True, width=120)


def page(document: Mapping[str, Any]) -> str:
    """One page of HTML that shows any such document, searchable, with all that it needs inside.

    It loads nothing and tells nobody anything: its policy allows no connection, and no script but its own. Whatever
    the document says is shown as text.
    """
    template, policy = _template(), page_policy()
    told = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_IN_SCRIPT)
    title = _encodable(escape(str(document["info"]["title"])))
    parts = {"policy": policy, "title": title, "document": _encodable(told)}
    return re.sub("@(policy|title|document)@", lambda found: parts[found[1]], template)


@cache
def page_policy() -> str:
    """What pages may do, for the header `Content-Security-Policy`: run the script and style in them, no more."""
    text = _template()
    allowed = {kind: _hash(re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)[-1]) for kind in ("script", "style")}
    return (
        f"default-src 'none'; script-src {allowed['script']}; style-src {allowed['style']}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _template() -> str:
    """The page without its document and its policy."""
    return files("topologies").joinpath("asyncapi_page.html").read_text(encoding="utf-8")


def _encodable(text: str) -> str:
    """The text in which half of a surrogate pair is an escape, as JSON has it too."""
    return text.encode(errors="backslashreplace").decode()


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


_FORMS: Mapping[DocumentFormat, Callable[[Mapping[str, Any]], str]] = {"json": as_json, "yaml": as_yaml, "html": page}
