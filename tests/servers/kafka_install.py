"""Fetches Apache Kafka from Maven Central and prepares what makes its start quick; done once for each version."""

import base64
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.servers.certificates import Certificates
from tests.servers.kafka import NODE_ID, SCRAM, Kafka, class_archive, java_command
from tests.servers.process import ServerFailed
from tests.servers.programs import KAFKA_VERSION, kafka_folder, maven
from tests.servers.reaper import Reaper

_POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>headrace</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.25.4</version>
    </dependency>
  </dependencies>
</project>
"""


class InstallFailed(Exception):
    """A step of the installation did not work; the message holds what its program said."""


def install_kafka() -> None:
    """Make the folder complete: jars, a formatted data folder, and an archive of classes. What is there stays.

    Each part is made beside its place and moved there when it is whole, so that an interrupted installation leaves
    no half of one, and two at the same time do no harm.
    """
    folder = kafka_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="part-", dir=folder) as part:
        _unless_there(folder / "libs", _fetch, Path(part))
        _unless_there(folder / "formatted", _format, Path(part))
        _unless_there(class_archive(), _archive, Path(part))


def _unless_there(place: Path, make: Callable[[Path, Path], None], part: Path) -> None:
    if place.exists():
        return
    made = part / place.name
    make(made, part)
    try:
        made.rename(place)
    except OSError:
        if not place.exists():  # otherwise somebody else was quicker
            raise


def _fetch(libs: Path, part: Path) -> None:
    (part / "pom.xml").write_text(_POM)
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={libs}"]
    _run([str(maven()), "--batch-mode", "--quiet", *goal], part)


def _format(data: Path, part: Path) -> None:
    lines = {
        "process.roles": "broker,controller",
        "node.id": str(NODE_ID),
        "listeners": "OPEN://127.0.0.1:1,CONTROLLER://127.0.0.1:2",
        "listener.security.protocol.map": "OPEN:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "OPEN",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"{NODE_ID}@127.0.0.1:2",
        "log.dirs": str(data),
    }
    (part / "format.properties").write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
    login = f"[name={Kafka.user},password={Kafka.password}]"
    logins = [argument for mechanism in SCRAM for argument in ("--add-scram", f"{mechanism}={login}")]
    cluster = base64.urlsafe_b64encode(b"headrace's tests")[:22].decode()
    tool = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", "format.properties", *logins]
    _run([*java_command(), *tool], part)


def _archive(archive: Path, part: Path) -> None:
    """Start Kafka once: Java writes down the classes that it has loaded when it ends."""
    reaper = Reaper()
    try:
        options = [f"-XX:ArchiveClassesAtExit={archive}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
        server = Kafka(part / "kafka", Certificates(part / "certificates"), reaper, jvm=options)
        server.start()
        server.stop()
        if not archive.exists():
            raise InstallFailed(f"Java has written no archive of Kafka's classes:\n{server.log()}")
    except ServerFailed as failure:
        raise InstallFailed(str(failure)) from failure
    finally:
        reaper.close()


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()[-20:]
        raise InstallFailed(f"`{command[0]}` failed with code {done.returncode}:\n" + "\n".join(said))
