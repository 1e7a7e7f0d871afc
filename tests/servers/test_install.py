"""The installation of the servers: quiet where all is there, and plain about what is not to be had."""

import os
from pathlib import Path

import pytest

from tests.servers import install, programs


def test_nothing_is_done_where_everything_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert install.main() == 0
    assert capsys.readouterr() == ("", "")


def test_a_package_that_nobody_may_install_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", "/nowhere")
    assert install.main() == 1
    assert "Redis is not installed" in capsys.readouterr().err


def test_a_kafka_that_cannot_be_fetched_is_a_failure_with_mavens_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    maven = tmp_path / "mvn"
    maven.write_text("#!/bin/sh\necho 'Could not transfer artifact' >&2\nexit 1\n")
    maven.chmod(0o755)
    monkeypatch.setattr(programs, "maven", lambda: maven)
    monkeypatch.setattr("tests.servers.kafka_install.maven", lambda: maven)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert install.main() == 1
    shown = capsys.readouterr()
    assert f"Fetching Kafka {programs.KAFKA_VERSION} into {tmp_path / 'cache'}" in shown.out
    assert "Could not transfer artifact" in shown.err
    assert list((tmp_path / "cache" / "headrace").glob("*/*")) == []


def test_a_missing_kafka_says_where_it_will_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(programs.Missing, match=str(tmp_path)):
        programs.kafka()


@pytest.mark.parametrize("there_before", [False, True])
def test_services_are_held_back_and_a_policy_of_the_machines_own_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there_before: bool
) -> None:
    policy = tmp_path / "policy-rc.d"
    if there_before:
        policy.write_text("theirs")
    monkeypatch.setattr(install, "_POLICY", policy)
    with install.services_held_back([]):
        assert policy.read_text() == ("theirs" if there_before else "#!/bin/sh\nexit 101\n")
        assert there_before or os.access(policy, os.X_OK)
    assert policy.exists() == there_before
