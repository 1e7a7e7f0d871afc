"""What is sent to NATS, many commands in one piece. Whoever calls these has checked subjects, headers and sizes."""

from collections.abc import Mapping, Sequence

Publication = tuple[str, str, Mapping[str, str], bytes]
"""A message to publish: its subject, where its confirm goes, its headers and its body."""


def published(run: Sequence[Publication]) -> bytes:
    """The commands that publish these, as nats-py writes them."""
    parts: list[bytes] = []
    add = parts.append
    for subject, reply, headers, body in run:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        told = f"NATS/1.0\r\n{lines}\r\n".encode()
        size = len(told)
        add(b"HPUB %b %b %d %d\r\n%b%b\r\n" % (subject.encode(), reply.encode(), size, size + len(body), told, body))
    return b"".join(parts)


def answered(subjects: Sequence[str], body: bytes) -> bytes:
    """The commands that publish the same body to each subject, without headers."""
    rest = b"  %d\r\n%b\r\n" % (len(body), body)
    return b"".join([b"PUB %b%b" % (subject.encode(), rest) for subject in subjects])
