"""`Denials`: which rights a server has denied, by what it named, while somebody listens."""

import ast
import re

PUBLISHING = re.compile(r'permissions violation for publish (?:to|with reply of) (".*")')
"""As nats-py hands it on: in small letters."""


def named(said: str) -> str | None:
    """The subject, in small letters, that publishing to was denied; None where it was something else."""
    found = PUBLISHING.search(said)
    try:
        return str(ast.literal_eval(found[1])).lower() if found else None  # quoted as Go quotes, which Python reads
    except (ValueError, SyntaxError):
        return None


class Denials:
    """What was denied since this was made, to whomever on the same connection."""

    __slots__ = ("_subjects", "other")

    def __init__(self) -> None:
        self._subjects: dict[str, str] = {}
        self.other = ""
        """What was said last that is not about publishing: a subscription, or nothing that is known here."""

    def __bool__(self) -> bool:
        return bool(self._subjects or self.other)

    def note(self, said: str) -> None:
        """Take down what the server said."""
        subject = named(said)
        if subject is None:
            self.other = said
        else:
            self._subjects[subject] = said

    def of(self, *subjects: str) -> str:
        """What was said about publishing to one of these; empty where nothing was."""
        denied = self._subjects
        return next((denied[each] for each in map(str.lower, subjects) if each in denied), "") if denied else ""
