"""`Witness`: counters in a file that is shared memory, so that they outlive the process that counts."""

import mmap
import struct
from pathlib import Path

COUNTERS = ("handled", "redelivered", "crashes", "poisoned", "tasks", "jumps")
_NUMBER = struct.Struct("<q")
_SIZE = _NUMBER.size * len(COUNTERS)
_PLACES = {name: _NUMBER.size * at for at, name in enumerate(COUNTERS)}


class Witness:
    """The counters of one process. It adds to what is there: a process that is started again goes on counting."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _SIZE)

    def add(self, name: str) -> None:
        """Count one more."""
        place = _PLACES[name]
        _NUMBER.pack_into(self._memory, place, _NUMBER.unpack_from(self._memory, place)[0] + 1)

    def set(self, name: str, value: int) -> None:
        """Note how many there are now."""
        _NUMBER.pack_into(self._memory, _PLACES[name], value)


def told(path: Path) -> dict[str, int]:
    """What a witness has counted; zeros where there is none, as with another engine than ours."""
    data = path.read_bytes() if path.exists() else b""
    data = data.ljust(_SIZE, b"\0")
    return {name: _NUMBER.unpack_from(data, place)[0] for name, place in _PLACES.items()}
