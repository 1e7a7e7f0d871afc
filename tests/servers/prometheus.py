"""Prometheus: scrapes what a test tells it to, every second, with the alerts that are shipped."""

import json
import signal
from os import kill
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.servers.process import Server
from tests.servers.programs import prometheus

ALERTS = Path(__file__).parents[2] / "examples" / "monitoring" / "alerts.yaml"


class Prometheus(Server):
    """One Prometheus; it finds its targets in a file that it looks at again when that changes."""

    name = "prometheus"
    scheme = "http"
    patience = 30

    def prepare(self) -> None:
        (self.folder / "targets.json").write_text("[]")
        (self.folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"
            f"rule_files: [{json.dumps(str(ALERTS))}]\n"
            "scrape_configs:\n"
            "  - job_name: headrace\n"
            "    file_sd_configs: [{files: [targets.json]}]\n"
        )

    def command(self) -> list[str]:
        return [
            str(prometheus()),
            "--config.file=prometheus.yml",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address={self.host}:{self.port}",
        ]

    def answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/-/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def watch(self, *targets: str) -> None:
        """Scrape these, each a host and a port, and nothing else from now on."""
        (self.folder / "targets.json").write_text(json.dumps([{"targets": targets}]))
        kill(self.pid, signal.SIGHUP)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression has now. Raises `HTTPError` for one that Prometheus does not understand."""
        with urlopen(f"{self.url}/api/v1/query?{urlencode({'query': expression})}", timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def targets(self) -> list[dict[str, Any]]:
        """What it scrapes, with the health of each and its last error."""
        with urlopen(f"{self.url}/api/v1/targets", timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["activeTargets"]
        return found
