"""The same bridge in another framework, FastStream, under the same faults: what is to be compared with.

It comes with `pip install -e '.[peer]'`, and is in no other way part of the project.
"""

import sys
from collections.abc import Mapping

from tests.faults.engines import ROOT, Command

SETTINGS = ("default", "safest")
FAULTS = ("none", "kill", "server-kill", "sigterm")
"""What it is put to: a killed process, a restarted broker, a graceful stop with full buffers; and nothing at all."""
MESSAGES = 4_000
"""It is slower; the time that a run takes is about the same."""


def peers() -> Mapping[str, Command]:
    """How it is started, by setting."""
    python = (sys.executable, "-m", "tests.faults.peer_bridge")
    return {setting: Command(python, {"FAULTS_SETTING": setting, "PYTHONPATH": str(ROOT)}) for setting in SETTINGS}


def carried(fields: dict[bytes, bytes]) -> bytes:
    """The body of an entry of a Redis stream: ours as it is, FastStream's out of what it wraps it in."""
    if b"__data__" not in fields:
        return fields.get(b"body", b"")
    data = fields[b"__data__"]
    if not data.startswith(_WRAPPED):
        return data
    # A version, where headers and data begin, how many headers, then both: redis/parser/binary.py of FastStream.
    start = int.from_bytes(data[len(_WRAPPED) + 6 : len(_WRAPPED) + 10])
    return data[start:]


_WRAPPED = b"\x89BIN\x0d\x0a\x1a\x0a"
