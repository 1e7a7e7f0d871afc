"""`headrace run` sets traces up by the standard variables; whatever they say, the stream goes on."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.telemetry.environment import CHECKS, look_over
from engine.telemetry.meters import metering
from tests.servers.collector import Collector, Receiver

ONE = """
from headrace import Memory, Topology

memory = Memory()
topology = Topology("single")


@topology.lifespan
async def filled(context):
    async with memory:
        await memory.topic("in").publish(1)
        yield
        print("out", memory.statistics().topics["out"].published, flush=True)


@topology.publisher(memory.topic("out"))
@topology.subscriber(memory.topic("in"))
async def handle(number: int) -> int:
    return number
"""


def run(folder: Path, source: str = ONE, **environment: str) -> tuple[str, list[dict[str, str]]]:
    """What a run printed, and what it logged; it has to have carried its message."""
    (folder / "module.py").write_text(source)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-m", "headrace", "run", f"{folder / 'module.py'}:topology", "--burst"],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env=clean | environment,
    )
    assert done.returncode == 0, done.stderr
    assert "out 1\n" in done.stdout
    return done.stdout, [json.loads(line) for line in done.stderr.splitlines()]


def warnings(lines: list[dict[str, str]]) -> list[str]:
    return [line["message"] for line in lines if line["level"] in ("warning", "error")]


def test_the_console_exporter_prints_the_spans(tmp_path: Path) -> None:
    out, lines = run(tmp_path, OTEL_TRACES_EXPORTER="console")
    for name in ("send in", "receive in", "process in", "send out", "ack in"):
        assert f'"name": "{name}"' in out
    assert '"service.name": "single"' in out
    assert warnings(lines) == []


def test_names_and_attributes_of_the_service_are_taken_from_the_environment(tmp_path: Path) -> None:
    given = {"OTEL_SERVICE_NAME": "checkout", "OTEL_RESOURCE_ATTRIBUTES": "team=blue,service.version=7"}
    out, _ = run(tmp_path, OTEL_TRACES_EXPORTER="console", **given)
    for each in ('"service.name": "checkout"', '"team": "blue"', '"service.version": "7"'):
        assert each in out


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        },
        {"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "console", "OTEL_TRACES_SAMPLER": "always_off"},
    ],
)
def test_nothing_is_traced_where_it_is_not_asked_for(environment: dict[str, str], tmp_path: Path) -> None:
    out, lines = run(tmp_path, **environment)
    assert '"name": "process in"' not in out
    assert warnings(lines) == []


def test_headers_go_to_the_collector_and_an_endpoint_is_enough_to_ask_for_it(
    collector: Collector, receiver: Receiver, tmp_path: Path
) -> None:
    run(
        tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20abc",
        OTEL_SERVICE_NAME="by-endpoint",
    )
    names = set()
    for _ in range(100):
        names = {span.name for span in receiver.spans if span.resource.get("service.name") == "by-endpoint"}
        if "process in" in names:
            break
        time.sleep(0.05)
    assert "process in" in names


NONSENSE = {
    "OTEL_TRACES_EXPORTER": "carrier-pigeon",
    "OTEL_TRACES_SAMPLER": "sometimes",
    "OTEL_PROPAGATORS": "telepathy",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "not a url at all://",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke",
    "OTEL_EXPORTER_OTLP_HEADERS": "hunter2",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "soon",
    "OTEL_RESOURCE_ATTRIBUTES": "blue",
    "OTEL_SDK_DISABLED": "perhaps",
    "OTEL_BSP_MAX_QUEUE_SIZE": "many",
    "OTEL_BSP_SCHEDULE_DELAY": "-1",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "some",
    "OTEL_SPAN_LINK_COUNT_LIMIT": "-3",
}


@pytest.mark.parametrize("name", sorted(NONSENSE))
def test_nonsense_is_told_by_the_name_of_its_variable_and_the_stream_goes_on(name: str, tmp_path: Path) -> None:
    environment = {"OTEL_TRACES_EXPORTER": "console", name: NONSENSE[name]}
    if name == "OTEL_TRACES_EXPORTER":
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
    _, lines = run(tmp_path, **environment)
    told = warnings(lines)
    assert any(line.startswith(f"{name} ") and "expected" in line for line in told), told
    assert "hunter2" not in json.dumps(lines)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2ö"),
        ("OTEL_EXPORTER_OTLP_HEADERS", 'authorization="hunter2"'),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2%0A"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "my authorization=hunter2"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "hunter2"),
    ],
)
def test_what_the_exporters_would_log_with_its_value_is_told_by_name_alone(
    name: str, value: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_PROTOCOL", raising=False)
    look_over()
    assert name not in os.environ
    assert f"{name} cannot be read, and is left out: expected" in caplog.text
    assert "hunter2" not in caplog.text


def test_an_endpoint_without_a_scheme_is_one_for_grpc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317")
    look_over()
    assert os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] == "localhost:4317"


@pytest.mark.parametrize("value", ["Always_On", "nonsense", ""])
def test_a_filter_of_exemplars_that_the_sdk_would_not_know_is_left_out(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", value)
    with metering("shop", scraped=True) as meters:
        assert meters.scrape is not None
        assert meters.provider is not None


def test_a_ratio_that_is_none_samples_all(tmp_path: Path) -> None:
    out, lines = run(
        tmp_path, OTEL_TRACES_EXPORTER="console", OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="half"
    )
    assert any("OTEL_TRACES_SAMPLER_ARG is 'half'" in line for line in warnings(lines))
    assert '"name": "process in"' in out


def test_every_variable_that_is_looked_over_takes_its_usual_value() -> None:
    usual = {
        "OTEL_SDK_DISABLED": "false",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=a,b=c%20d",
        "OTEL_PROPAGATORS": "tracecontext, baggage",
        "OTEL_TRACES_EXPORTER": "otlp,console",
        "OTEL_METRICS_EXPORTER": "otlp,prometheus",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_METRICS_EXEMPLAR_FILTER": "trace_based",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_HEADERS": "a=b, c=d",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
    }
    for name, check in CHECKS.items():
        of_all = name.replace("_OTLP_TRACES_", "_OTLP_").replace("_OTLP_METRICS_", "_OTLP_")
        assert check(usual.get(of_all, "100")) == "", name


def test_a_missing_exporter_is_told_with_what_to_install(tmp_path: Path) -> None:
    hidden = """
import importlib.metadata
import engine.telemetry.exporters as exporters

exporters.entry_points = lambda **wanted: []  # as where headrace[otlp] is not installed
"""
    _, lines = run(tmp_path, hidden + ONE, OTEL_TRACES_EXPORTER="otlp")
    assert any("pip install 'headrace[otlp]'" in line for line in warnings(lines))


def test_a_module_that_configures_a_provider_keeps_it(tmp_path: Path) -> None:
    own = """
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

provider = TracerProvider(resource=Resource({"service.name": "own"}))
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
trace.set_tracer_provider(provider)
"""
    out, _ = run(tmp_path, own + ONE, OTEL_TRACES_EXPORTER="console", OTEL_SERVICE_NAME="other")
    assert '"service.name": "own"' in out
    assert '"service.name": "other"' not in out
    assert out.count('"name": "process in"') == 1
