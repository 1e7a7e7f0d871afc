"""What a server tells over HTTP beside its own protocol, for a pre-flight: read once, as JSON."""

import asyncio
import base64
import json
import ssl
from typing import Any
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, Request

MOST = 4 * 1024 * 1024
"""Bytes of an answer that are read."""


async def get_json(
    url: str, timeout: float, login: tuple[str, str] | None = None, context: ssl.SSLContext | None = None
) -> Any:
    """The JSON at an `http:` or `https:` URL. Follows no redirect, so that a login goes nowhere else.

    Raises `OSError` where it cannot be had, `LookupError` for 404, `PermissionError` for 401 and 403, and `ValueError`
    where it is no JSON.
    """
    return await asyncio.to_thread(_get, url, timeout, login, context)


def _get(url: str, timeout: float, login: tuple[str, str] | None, context: ssl.SSLContext | None) -> Any:
    request = Request(url, headers={"Accept": "application/json"})
    if login is not None:
        token = base64.b64encode(":".join(login).encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    opener = OpenerDirector()
    opener.add_handler(HTTPHandler())
    opener.add_handler(HTTPSHandler(context=context))
    answer = opener.open(request, timeout=timeout)
    if answer is None:
        raise ValueError("no URL of HTTP")
    with answer:
        if answer.status == 404:
            raise LookupError(url)
        if answer.status in (401, 403):
            raise PermissionError(f"HTTP status {answer.status}: this user may not read it")
        if answer.status != 200:
            raise OSError(f"HTTP status {answer.status}")
        return json.loads(answer.read(MOST))
