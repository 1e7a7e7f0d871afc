"""The forms of a document: JSON, YAML, and a page that needs nothing from outside and shows all text as text."""

import json
import re
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers import programs
from tests.topologies import nasty
from tests.topologies.asyncapi_checked import by_parser
from topologies import asyncapi, page, render

OPEN_ALL = """
<script>
window.alert = () => document.documentElement.setAttribute("data-owned", "yes");
addEventListener("load", () => {
  const open = () => document.querySelectorAll("main details:not([open])").forEach((each) => { each.open = true; });
  for (let round = 0; round < 4; round += 1) setTimeout(open, round * 100);
});
</script>
"""


class Seen(HTMLParser):
    """The elements of a page, and its text without that of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.text += data


Shown = Callable[[str], str]


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    """The page as Chromium has it when its scripts have run."""

    def show(text: str) -> str:
        place = tmp_path / "page.html"
        place.write_text(text, encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        command = [str(programs.chromium()), *options, "--virtual-time-budget=5000", "--dump-dom", place.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return show


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    made = asyncapi([nasty.topology.graph(), nasty.twin.graph()], title=f"Nasty </title>{nasty.SCRIPT}")
    made["info"]["description"] = f"</script>{nasty.SCRIPT}<!--"
    return made


def test_json_and_yaml_say_the_same_in_the_same_order(document: dict[str, Any]) -> None:
    from_json, from_yaml = json.loads(render(document, "json")), yaml.safe_load(render(document, "yaml"))
    assert from_json == document
    assert json.dumps(from_yaml) == json.dumps(document)


def test_yaml_is_without_aliases_and_the_parser_takes_it(document: dict[str, Any]) -> None:
    text = render(document, "yaml")
    assert not re.search(r"(?m)^[^\"']*: [&*]id\d+", text)
    assert by_parser([text]) == [[]]


def test_the_page_names_nothing_outside_and_forbids_it(document: dict[str, Any]) -> None:
    text = page(document)
    assert re.findall(r"(?:src|href|action)=[\"']?(?:https?:)?//", text) == []
    assert not re.search(r"@import|url\(", text)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert len(page(asyncapi([]))) < 40_000


def test_no_text_of_the_document_ends_the_script_that_holds_it(document: dict[str, Any]) -> None:
    text = page(document)
    held = Seen(text)
    assert held.tags.count("script") == 2
    inside = text.split('id="document">')[1].split("</script>")[0]
    assert json.loads(inside) == document


def test_the_page_shows_every_operation_channel_server_and_schema(document: dict[str, Any], shown: Shown) -> None:
    found = shown(page(document))
    names = {value for name, value in Seen(found).attributes if name == "id"}
    for part, group in (("operations", "operation"), ("channels", "channel"), ("servers", "server")):
        assert {f"{group}/{name}" for name in document[part]} <= names
    assert {f"schema/{name}" for name in document["components"]["schemas"]} <= names


def test_scripts_in_names_descriptions_and_examples_are_shown_and_not_run(
    document: dict[str, Any], shown: Shown
) -> None:
    # Without its policy, so that nothing but the page's own care stands between a script and its running.
    bare = re.sub(r"<meta http-equiv=[^>]+>", "", page(document)).replace("<head>", f"<head>{OPEN_ALL}", 1)
    found = Seen(shown(bare))
    assert ("data-owned", "yes") not in found.attributes
    assert "img" not in found.tags
    assert found.tags.count("script") == 3
    assert not any(name.startswith("on") for name, _ in found.attributes)
    for text in ("alert(1)", "<script>alert(3)</script>", "<script>alert(4)</script>", "<img src=x onerror=alert(5)>"):
        assert text in found.text


def test_a_page_of_a_document_with_nothing_in_it_says_so(shown: Shown) -> None:
    found = Seen(shown(page(asyncapi([]))))
    assert "0 operations" in found.text
