"""The Kubernetes manifests: they parse, and what they name is there: probes, options, settings, labels, ports."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from starlette.routing import Route

from engine.cli.app import app
from engine.cli.run import LAST
from engine.http.app import http_app
from engine.http.server import address_of
from engine.settings import PREFIX, Settings
from headrace import Engine
from tests.engine.http.served import Mill

FOLDER = Path(__file__).parents[3] / "examples" / "kubernetes"
DEPLOYMENT, SERVICE = yaml.safe_load_all((FOLDER / "headrace.yaml").read_text(encoding="utf-8"))
POD = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
PROBES = {name: CONTAINER[name] for name in ("startupProbe", "livenessProbe", "readinessProbe")}


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_every_manifest_parses_and_says_what_it_is(path: Path) -> None:
    for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        assert {"apiVersion", "kind", "metadata"} <= manifest.keys()
        assert manifest["metadata"]["name"] == "orders"


def test_the_probes_ask_what_the_app_has() -> None:
    there = {route.path for route in http_app(Engine(Mill().topology)).routes if isinstance(route, Route)}
    asked = {name: probe["httpGet"]["path"] for name, probe in PROBES.items()}
    assert asked == {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    assert set(asked.values()) <= there


def test_the_command_parses_and_listens_on_the_port_that_is_named() -> None:
    assert CONTAINER["command"] == ["headrace"]
    name, *arguments = CONTAINER["args"]
    command: Any = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    given = command.make_context(name, list(arguments)).params
    assert given["targets"] == ["orders.py:topology"]
    address = address_of(given["http"])
    (port,) = CONTAINER["ports"]
    assert (address.port, address.loopback) == (port["containerPort"], False)
    assert {probe["httpGet"]["port"] for probe in PROBES.values()} == {port["name"]}
    assert SERVICE["spec"]["ports"][0]["targetPort"] == port["name"]


def test_it_is_killed_no_sooner_than_a_drain_may_take() -> None:
    drain = next(float(after) for option, after in pairwise(CONTAINER["args"]) if option == "--drain")
    assert POD["terminationGracePeriodSeconds"] > drain + LAST


def test_every_variable_of_the_engine_is_a_setting_and_secrets_come_from_a_secret() -> None:
    variables = {each["name"]: each for each in CONTAINER["env"]}
    ours = {name for name in variables if name.startswith(PREFIX)}
    assert {name.removeprefix(PREFIX).lower() for name in ours} <= Settings.model_fields.keys()
    for name in ("HEADRACE_TOKEN", "BROKER_URL"):
        assert variables[name].keys() == {"name", "valueFrom"}


def test_the_labels_are_those_that_are_selected() -> None:
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    for selector in (DEPLOYMENT["spec"]["selector"]["matchLabels"], SERVICE["spec"]["selector"]):
        assert selector.items() <= labels.items()
