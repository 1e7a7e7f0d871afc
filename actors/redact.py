"""Secrets taken out of texts that others will read: log lines, dead letters, last words."""

import re

_IN_URL = re.compile(
    r"""
    (?P<before> [a-z][a-z0-9+.-]*://  [^\s/:@'"]* : )  (?: (?!://)[^\s'"] )+  @      # user:password@
    | (?P<scheme> \b (?:nats|tls):// )  [^\s/:@'"]+  @                               # token@
    | (?P<query> [?&] (?:password|passwd|secret|token) = )  [^\s&'"]+
    """,
    re.IGNORECASE | re.VERBOSE,
)


def redact(text: str) -> str:
    """The text without the passwords of the URLs in it."""
    if "://" not in text:
        return text
    return _IN_URL.sub(lambda found: f"{found['before'] or found['scheme'] or found['query']}***{_at(found[0])}", text)


def _at(found: str) -> str:
    return "@" if found.endswith("@") else ""
