"""`check`, `graph`, `publish`, `version`, and what all commands have in common."""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import headrace as front
from actors import BrokerUnavailable, Capabilities, DrainTimeout, IntensityExceeded, TopologyError
from engine.cli.exits import Code, CommandError, report
from engine.cli.notes import notes
from engine.settings import SettingsError
from tests.engine.cli.conftest import ORDERS, Command, Write, assert_refused
from tests.topologies.drawn import Place, Server
from topologies import Topology

GOOD = '{"id": 1, "customer": "ann", "priority": "high"}'


# -- check and graph -------------------------------------------------------------------------------------------


def test_check_prints_stages_with_what_they_take_and_where_it_goes(headrace: Command, write: Write) -> None:
    write("orders.py", ORDERS)
    result = headrace("check", "orders")
    assert (result.code, result.err) == (0, "")
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert "✓ orders: 4 stages" in lines
    assert "check subscriber memory:orders by_priority 4 workers · mailbox 256" in lines
    assert "to:urgent.{customer} publisher by_priority memory:urgent.{customer} 1 worker · mailbox 256" in lines


def test_check_goes_on_after_a_bad_target_and_tells_all_of_them(headrace: Command, write: Write) -> None:
    write("orders.py", ORDERS)
    write("bad.py", "from headrace import Topology\ntopology = Topology('bad')\n")
    result = headrace("check", "nowhere", "bad", "orders")
    assert result.code == Code.TOPOLOGY
    assert "orders: 4 stages" in result.out
    assert "nowhere" in result.err
    assert "bad.py:2" in result.err


def test_check_as_json_has_topologies_and_problems(headrace: Command, write: Write) -> None:
    write("orders.py", ORDERS)
    write("bad.py", "from headrace import Topology\ntopology = Topology('bad')\n")
    result = headrace("check", "orders", "bad", "--json")
    found = json.loads(result.out)
    assert result.code == Code.TOPOLOGY
    assert found["ok"] is False
    assert [topology["name"] for topology in found["topologies"]] == ["orders"]
    assert found["problems"] == [
        {
            "target": "bad",
            "problem": "topology bad declares no stage",
            "remedy": "put @topology.subscriber(endpoint) above a function",
            "place": "bad.py:2",
        }
    ]


def test_what_a_broker_does_not_promise_is_noted() -> None:
    weak = Place(Server("nats"), "prices", can=Capabilities(redelivery=False))
    kept = Place(Server("kafka"), "orders", can=Capabilities(partitioned=True))
    topology = Topology("noted")

    @topology.subscriber(weak, kept, key=lambda message: message.key)
    async def take(body: dict[str, int]) -> None: ...

    assert notes(topology.graph()) == [
        "take: prices delivers at most once: what a crash interrupts is lost",
        "take: order by key holds within one engine; with several, prices would have to be partitioned by it: "
        "a topic of Kafka, or a queue of RabbitMQ with single_active_consumer=True",
    ]


def test_graph_prints_mermaid_unless_told_otherwise(headrace: Command, write: Write) -> None:
    write("orders.py", ORDERS)
    assert headrace("graph", "orders").out.startswith("flowchart LR\n")
    assert headrace("graph", "orders", "--format", "dot").out.startswith('digraph "orders" {\n')
    assert json.loads(headrace("graph", "orders", "--format", "json").out)["name"] == "orders"


def test_graph_writes_a_file_in_the_format_of_its_name(headrace: Command, write: Write, tmp_path: Path) -> None:
    write("orders.py", ORDERS)
    assert headrace("graph", "orders", "--output", "o.svg") == (0, "", "")
    assert ElementTree.parse(tmp_path / "o.svg").getroot().tag.endswith("svg")
    assert headrace("graph", "orders", "-o", "o.svg", "--format", "dot").code == 0
    assert (tmp_path / "o.svg").read_text().startswith("digraph")


def test_graph_refuses_the_name_of_a_picture_that_it_cannot_draw(
    headrace: Command, write: Write, tmp_path: Path
) -> None:
    write("orders.py", ORDERS)
    assert_refused(headrace("graph", "orders", "-o", "x.png"), 2, "x.png: nothing is drawn as .png", ".svg", "--format")
    assert not (tmp_path / "x.png").exists()
    assert headrace("graph", "orders", "-o", "drawing").code == 0
    assert (tmp_path / "drawing").read_text().startswith("flowchart")
    assert headrace("graph", "orders", "-o", "x.png", "--format", "svg").code == 0
    assert headrace("graph", "orders", "-o", "O.SVG").code == 0
    assert (tmp_path / "O.SVG").read_text() == (tmp_path / "x.png").read_text()


def test_graph_says_where_it_cannot_write(headrace: Command, write: Write) -> None:
    write("orders.py", ORDERS)
    assert_refused(headrace("graph", "orders", "-o", "no/such/folder.svg"), 1, "no/such/folder.svg")


def test_dead_letters_of_the_embedded_broker_are_asked_of_the_engine_that_has_them(
    headrace: Command, write: Write
) -> None:
    write(
        "shop.py",
        """
        from headrace import Memory, Topology
        memory, topology = Memory(), Topology("shop")
        @topology.subscriber(memory.topic("in"))
        async def take(order: dict) -> None: ...
        """,
    )
    assert_refused(
        headrace("dead", "list", "shop.py"), 2, "in.dead: an embedded broker", "dead list http://127.0.0.1:8080"
    )


# -- publish ---------------------------------------------------------------------------------------------------


def test_publish_shows_what_comes_of_a_message(process: Command, write: Write) -> None:
    write("orders.py", ORDERS)
    result = process("publish", "orders:topology", "orders", GOOD, "--header", "tenant=7")
    assert (result.code, result.err) == (0, "")
    to, count = result.out.splitlines()
    assert to.startswith("→ urgent.ann [ann]  {")
    assert count == "1 published to orders, 1 came out, 0 dead"


def test_publish_takes_a_message_a_line_and_tells_why_one_is_dead(process: Command, write: Write) -> None:
    write("orders.py", ORDERS)
    lines = [GOOD, "no json", "", '{"id": 2, "customer": "nobody"}', '{"id": 3, "customer": "bob"}']
    result = process("publish", "orders", "memory:orders", "--json", "--key", "k", stdin="\n".join(lines))
    assert (result.code, result.err) == (1, "")
    told = {json.dumps(each["body"]): each for each in map(json.loads, result.out.splitlines())}
    dead = {body: each["headers"]["headrace-reason"] for body, each in told.items() if each["dead"]}
    assert set(dead) == {'"no json"', '{"id": 2, "customer": "nobody"}'}
    assert "Invalid JSON" in dead['"no json"']
    assert dead['{"id": 2, "customer": "nobody"}'] == "there is no such customer"
    assert [(each["destination"], each["key"]) for each in told.values() if not each["dead"]] == [
        ("urgent.ann", "ann"),
        ("orders.enriched", "k"),
    ]


def test_publish_handles_more_than_a_topic_holds(process: Command, write: Write) -> None:
    write("orders.py", ORDERS.replace("Memory()", "Memory(capacity=10)"))
    lines = "\n".join(json.dumps({"id": number, "customer": "bob"}) for number in range(1, 2001))
    result = process("publish", "orders", "orders", "-", stdin=lines)
    assert result.code == 0
    assert result.out.splitlines()[-1] == "2000 published to orders, 2000 came out, 0 dead"


def test_publish_takes_the_body_from_a_file(headrace: Command, write: Write) -> None:
    write("orders.py", ORDERS)
    write("body.json", GOOD.replace(",", ",\n"))
    result = headrace("publish", "orders", "orders", "@body.json")
    assert result.code == 0
    assert "1 published to orders, 1 came out, 0 dead" in result.out


BAD_ARGUMENTS = {
    "publish orders nowhere x": (2, ["nowhere", "memory:orders"]),
    "publish orders orders.enriched x": (2, ["takes nothing from there", "memory:orders"]),
    "publish orders orders @nofile": (2, ["nofile", "cannot be read"]),
    "publish orders orders x --header tenant": (2, ["--header tenant", "tenant=7"]),
    "run": (2, ["TARGET"]),
    "run orders --drain soon": (2, ["--drain", "valid number"]),
    "run orders --drain=-1": (2, ["--drain"]),
    "run orders --drain inf": (2, ["--drain", "finite"]),
    "run orders --log-level loud": (2, ["--log-level", "debug"]),
    "run orders --app-dir nowhere": (2, ["--app-dir", "nowhere"]),
    "run orders --config nowhere.toml": (2, ["nowhere.toml", "--config"]),
    "run orders orders.py": (2, ["orders.py", "a topology called orders is among the targets already"]),
    "graph orders --format gif": (2, ["--format", "mermaid"]),
    "rnu orders": (2, ["rnu", "'run'"]),
    "run orders --no-such-option": (2, ["--no-such-option"]),
}


@pytest.mark.parametrize("arguments", BAD_ARGUMENTS)
def test_a_bad_argument_is_a_usage_error_of_two_lines(arguments: str, headrace: Command, write: Write) -> None:
    write("orders.py", ORDERS)
    code, words = BAD_ARGUMENTS[arguments]
    assert_refused(headrace(*arguments.split()), code, *words)


# -- what is common --------------------------------------------------------------------------------------------


def test_version_names_headrace_and_python(headrace: Command) -> None:
    python = ".".join(map(str, sys.version_info[:3]))
    for arguments in (["version"], ["--version"]):
        result = headrace(*arguments)
        assert result.code == 0
        assert result.out.startswith(f"headrace {front.__version__} (Python {python},")


def test_help_names_the_environment_variable_of_every_option(
    headrace: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    for command, options in {
        "run": ["BURST", "DRAIN", "REQUIRE_HEALTHY", "APP_DIR", "CONFIG", "RELOAD", "LOG_FORMAT", "LOG_LEVEL"],
        "check": ["CHECK_CONNECT", "CHECK_STRICT", "CHECK_TIMEOUT", "APP_DIR", "JSON"],
        "graph": ["APP_DIR", "GRAPH_FORMAT", "GRAPH_OUTPUT"],
        "docs": ["APP_DIR", "DOCS_FORMAT", "DOCS_OUTPUT", "DOCS_TITLE", "DOCS_VERSION"],
        "publish": ["APP_DIR", "JSON", "PUBLISH_KEY", "PUBLISH_HEADER"],
    }.items():
        text = "".join(headrace(command, "--help").out.split())
        assert [option for option in options if f"HEADRACE_{option}]" not in text] == []


def test_an_option_is_taken_from_its_environment_variable(process: Command, write: Write) -> None:
    write("inner/orders.py", ORDERS)
    result = process("graph", "orders", HEADRACE_APP_DIR="inner", HEADRACE_GRAPH_FORMAT="dot")
    assert result.out.startswith("digraph")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(shell: str, process: Command) -> None:
    words = {"COMP_WORDS": "headrace ch", "COMP_CWORD": "1", "_TYPER_COMPLETE_ARGS": "headrace ch"}
    variables = {"_HEADRACE_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args", **words}
    assert "check" in process(**variables).out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CommandError("wrong"), 2),
        (SettingsError("wrong"), 2),
        (TopologyError("wrong", remedy="right", place="here:1"), 78),
        (IntensityExceeded("root", "child", 3, 5.0), 70),
        (BrokerUnavailable("away: start it"), 69),
        (DrainTimeout(1.0), 1),
        (ExceptionGroup("several", [ExceptionGroup("one", [BrokerUnavailable("away: start it")])]), 69),
        (KeyboardInterrupt(), 130),
        (SystemExit(7), 7),
    ],
)
def test_every_error_has_its_exit_code(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(error) == code
    assert "Traceback" not in capsys.readouterr().err


def test_an_error_of_our_own_is_told_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    assert report(LookupError("a bug")) == 1
    assert "LookupError: a bug" in caplog.text
    [record] = caplog.records
    assert record.exc_info is not None


def test_what_is_said_of_an_error_holds_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    report(BrokerUnavailable("amqp://guest:secret@host: refused"))
    assert capsys.readouterr().err == "headrace: amqp://guest:***@host: refused\n"
