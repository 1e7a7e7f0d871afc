"""What is shipped for monitoring loads, and speaks of what an engine measures."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import anyio
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client.parser import text_string_to_metric_families

from engine.telemetry.scrape import scrape
from headrace import Engine, Memory, Topology
from tests.servers.programs import promtool
from tests.servers.prometheus import ALERTS, Prometheus

pytestmark = pytest.mark.anyio
DASHBOARD: dict[str, Any] = json.loads((ALERTS.parent / "dashboard.json").read_text())
SUFFIXES = ("_bucket", "_count", "_sum", "_total")


@pytest.fixture
async def text() -> str:
    """What an engine shows that has handled a thousand messages, ten of them in vain."""
    memory, topology, scraped = Memory(), Topology("shop"), scrape()

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"))
    async def call(body: dict[str, int]) -> dict[str, int]:
        return {"share": 1000 // (body["i"] % 100)}

    async with memory:
        for number in range(1000):
            await memory.topic("in").publish({"i": number})
    engine = Engine(topology.graph(), meter_provider=MeterProvider(metric_readers=[scraped.reader]))
    await engine.run(burst=True)
    shown = scraped.text()[0].decode()
    assert 'error_type="ZeroDivisionError"' in shown
    return shown


def expressions() -> list[str]:
    """All that the dashboard asks Prometheus, its variables filled in."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [re.sub(r"\$(topology|stage)", ".*", each).replace("$__rate_interval", "1m") for each in found]


def measured(expression: str) -> set[str]:
    """The names of metrics in an expression."""
    return set(re.findall(r"\b(?:headrace|messaging|process|cpython)_[a-z_]+(?=[{\[) ]|$)", expression)) - {
        "headrace_stage",
        "headrace_state",
        "headrace_topology",
        "messaging_operation_type",
    }


async def test_metrics_are_what_prometheus_advises(text: str) -> None:
    checked = await anyio.run_process([str(promtool()), "check", "metrics"], input=text.encode(), check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_alerts_are_rules(tmp_path: Path) -> None:
    checked = subprocess.run([promtool(), "check", "rules", ALERTS], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerts_go_off_when_they_should_and_not_otherwise() -> None:
    tests = Path(__file__).with_name("alerts_test.yaml")
    command = [str(promtool()), "test", "rules", tests.name]
    checked = subprocess.run(command, cwd=tests.parent, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


async def test_alerts_and_dashboard_speak_of_metrics_that_there_are(text: str) -> None:
    families = list(text_string_to_metric_families(text))
    there = {sample.name for family in families for sample in family.samples}
    there.add("headrace_consumer_lag")  # of sources that know it; the embedded broker's does while something is left
    alerts = re.findall(r"expr: (.*)", ALERTS.read_text())
    assert len(alerts) > 5
    for expression in (*alerts, *expressions()):
        assert measured(expression) <= there, expression


async def test_prometheus_understands_all_that_the_dashboard_asks(prometheus_server: Prometheus) -> None:
    for expression in expressions():
        try:
            prometheus_server.query(expression)
        except HTTPError as error:
            pytest.fail(f"{expression}: {error.read().decode()}")


def test_the_dashboard_is_one_to_grafanas_own_model_of_dashboards() -> None:
    register_default_plugins()
    model = Dashboard.from_json(DASHBOARD)
    again = json.loads(JSONEncoder().encode(model))
    assert [panel["targets"] for panel in again["panels"]] == [panel["targets"] for panel in DASHBOARD["panels"]]
    assert [variable["name"] for variable in again["templating"]["list"]] == ["datasource", "topology", "stage"]


def test_the_dashboard_has_what_grafana_needs_of_it() -> None:
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= DASHBOARD.keys()
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 15
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["title"]
        assert panel["description"].endswith(".")
    taken = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken)), "panels lie over one another"
