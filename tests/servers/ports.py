"""Loopback ports that nobody uses now, and that no outgoing connection will take while their server is down."""

import random
import socket

LOOPBACK = "127.0.0.1"

# Below the ports that systems give to outgoing connections (Linux from 32768, others from 49152). A client that tries
# to reconnect to a port within that range can be given the very same port and end up talking to itself.
_RANGE = range(15_000, 32_000)
_given: set[int] = set()


def free_port() -> int:
    """Return a port that can be bound now. No port is given twice."""
    for port in random.sample(_RANGE, k=200):
        if port not in _given and _can_bind(port):
            _given.add(port)
            return port
    raise RuntimeError(f"None of 200 ports tried between {_RANGE.start} and {_RANGE.stop} is free on {LOOPBACK}.")


def _can_bind(port: int) -> bool:
    with socket.socket() as candidate:
        try:
            candidate.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def ask(port: int, question: bytes, size: int = 4096, timeout: float = 1.0) -> bytes:
    """Send bytes to a port and return the first bytes of the answer; none where nobody answers in time."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout) as connection:
            connection.sendall(question)
            return connection.recv(size)
    except OSError:
        return b""
