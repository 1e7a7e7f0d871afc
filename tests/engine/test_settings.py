"""Settings: where they come from, in which order, and what is refused."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.settings import PREFIX, Settings, SettingsError, read


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


def test_without_anything_said_the_defaults_hold(tmp_path: Path) -> None:
    assert read(tmp_path).model_dump() == {
        "burst": False,
        "drain": 25.0,
        "require_healthy": None,
        "stalled_after": 60.0,
        "http": None,
        "token": None,
        "http_guard_reading": False,
        "http_hosts": "",
        "http_probes": True,
        "http_metrics": True,
        "http_asyncapi": True,
        "http_page": True,
        "http_api": True,
        "uvloop": None,
        "reload": False,
        "log_format": "auto",
        "log_level": "info",
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.tuples(*[st.one_of(st.none(), st.floats(0, 1e6)) for _ in range(3)]))
def test_what_is_given_goes_before_the_environment_before_the_file(
    tmp_path: Path, values: tuple[float | None, float | None, float | None]
) -> None:
    option, variable, line = values
    (tmp_path / "headrace.toml").write_text("" if line is None else f"drain = {line!r}\n")
    with pytest.MonkeyPatch.context() as patch:
        if variable is not None:
            patch.setenv("HEADRACE_DRAIN", repr(variable))
        expected = next((value for value in values if value is not None), 25.0)
        assert read(tmp_path, drain=option).drain == expected


def test_another_file_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "headrace.toml").write_text("drain = 1\n")
    (tmp_path / "other.toml").write_text("burst = true\n")
    found = read(tmp_path, tmp_path / "other.toml")
    assert (found.burst, found.drain) == (True, 25.0)


def test_an_empty_variable_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_DRAIN", "")
    assert read(tmp_path).drain == 25.0


def test_variables_that_are_no_settings_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_PUBLISH_KEY", "7")
    assert read(tmp_path).model_dump() == Settings().model_dump()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("drian = 3", ["unknown key drian", "burst, drain, http, ", "log_format, log_level, reload"]),
        ("[headrace]\ndrain = 3", ["unknown key headrace"]),
        ("drain = \n", ["not TOML", "line 1"]),
        ('drain = "soon"', ["drain is 'soon'", "number"]),
        ("drain = -1", ["drain is -1", "greater than or equal to 0"]),
        ("drain = inf", ["drain is inf", "finite"]),
        ('log_level = "loud"', ["log_level is 'loud'", "'debug'"]),
    ],
)
def test_a_bad_file_is_told_by_its_path_and_key(text: str, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "headrace.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) <= 2
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("named", [False, True])
def test_a_file_that_cannot_be_read_is_told(named: bool, tmp_path: Path) -> None:
    path = tmp_path / "headrace.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"headrace.toml"):
        read(tmp_path, path if named else None)


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere.toml: there is no such file"):
        read(tmp_path, tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("given_", "variable", "place"),
    [({"drain": -1.0}, None, "--drain is -1.0"), ({}, "-1", "HEADRACE_DRAIN is '-1'")],
)
def test_a_bad_value_is_told_by_where_it_was_given(
    given_: dict[str, Any], variable: str | None, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable is not None:
        monkeypatch.setenv("HEADRACE_DRAIN", variable)
    with pytest.raises(SettingsError, match=place):
        read(tmp_path, **given_)


@pytest.mark.parametrize(
    "hosts", ["http://stream.example", "stream.example:80", "a b", "*.example", "-a", "größe", "a,,/"]
)
def test_what_is_no_name_of_a_host_is_refused(tmp_path: Path, hosts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_HTTP_HOSTS", hosts)
    with pytest.raises(SettingsError, match=r"HEADRACE_HTTP_HOSTS .* is no name of a host"):
        read(tmp_path)


@pytest.mark.parametrize("hosts", ["", "stream.example, other.example.,", "a_b", "10.0.0.1", "[::1],::1", "localhost"])
def test_names_of_hosts_are_taken(tmp_path: Path, hosts: str) -> None:
    assert read(tmp_path, http_hosts=hosts).http_hosts == hosts


@pytest.mark.parametrize("token", ["short", "with a blank", "größe-und-mehr", " " * 9])
def test_a_token_that_no_header_could_carry_is_refused_and_not_repeated(tmp_path: Path, token: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        read(tmp_path, token=token)
    assert str(wrong.value).startswith("--token is what it is: expected at least 8 characters")
    assert token not in str(wrong.value)
    assert "s3cret-token" not in repr(read(tmp_path, token="s3cret-token"))
