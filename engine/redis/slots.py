"""`Slot`: a number that is this process's alone on this machine, and that the next process finds free when it dies."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from uuid import uuid4

try:
    import fcntl
except ImportError:  # no such thing on Windows
    fcntl = None  # type: ignore[assignment]

MOST = 4096
"""Numbers that are tried."""


class Slot:
    """The lowest number that no other holder of the same scope has, as long as it is not released.

    It is a lock on a file, which the system lets go however the process ends: one that is started again finds the
    number of the one that was killed, and with it, under the same name, what that one left unfinished. Where files
    cannot be locked the number is a random one, unique and never found again.
    """

    def __init__(self, scope: str) -> None:
        self._file: int | None = None
        self.number = self._take(hashlib.sha256(scope.encode()).hexdigest()[:20]) or uuid4().hex[:12]

    def _take(self, name: str) -> str | None:
        folder = _folder()
        if folder is None or fcntl is None:
            return None
        for number in range(MOST):
            try:
                file = os.open(folder / f"{name}.{number}", os.O_RDWR | os.O_CREAT, 0o600)
            except OSError:
                return None
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(file)
            else:
                self._file = file
                return str(number)
        return None

    def release(self) -> None:
        """Let others have the number."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _folder() -> Path | None:
    """A folder that belongs to this user alone: others could hold its locks for ever."""
    user = getattr(os, "getuid", lambda: 0)()
    folder = Path(tempfile.gettempdir()) / f"headrace-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    return folder if stat.S_ISDIR(found.st_mode) and found.st_uid == user else None
