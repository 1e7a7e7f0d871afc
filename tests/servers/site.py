"""Where one session's servers live: their folder, their certificates, and each server once."""

import tempfile
from collections.abc import Callable, Hashable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.servers.certificates import Certificates
from tests.servers.fleet import Fleet
from tests.servers.process import Server
from tests.servers.reaper import Reaper

Service = TypeVar("Service", bound=Server | Fleet)


class Site:
    """The servers of one session. Closing it, or the end of this process in whatever way, kills and removes all."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="headrace-servers-"))
        self._reaper = Reaper()
        self._reaper.sweep(self._folder)
        self._services: dict[Hashable, Server | Fleet] = {}

    @cached_property
    def certificates(self) -> Certificates:
        """The certificates that all servers of this site show."""
        return Certificates(self._folder / "certificates")

    def get(self, kind: Callable[..., Service], **options: Any) -> Service:
        """Return the running server of this kind with these options: one for the session, started on first use.

        What an earlier test has stopped, killed or paused runs again when this returns, with its data. Raises
        `ServerFailed` for a server that does not start or has ended by itself, `Missing` for one not installed.
        """
        service = self.prepare(kind, **options)
        service.ensure()
        return service

    def prepare(self, kind: Callable[..., Service], **options: Any) -> Service:
        """Return the same without starting it."""
        key = (kind, repr(sorted(options.items())))
        if key not in self._services:
            folder = self._folder / f"{len(self._services)}-{kind.__name__.lower()}"
            self._services[key] = kind(folder, self.certificates, self._reaper, **options)
        return self._services[key]  # type: ignore[return-value]  # a key holds what its kind has made

    def close(self) -> None:
        """Kill all servers and remove what they have written."""
        for service in self._services.values():
            service.kill()
        self._reaper.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
