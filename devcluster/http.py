"""Asking a program of this machine for its state."""

from __future__ import annotations

import json
import ssl
import urllib.request
from http import HTTPStatus
from typing import Any


def is_ok(url: str, *, token: str | None = None, context: ssl.SSLContext | None = None) -> bool:
    """Whether `url` answers 200 within five seconds; proxies are passed by."""
    return _get(url, token, context) is not None


def get_json(url: str, *, token: str, context: ssl.SSLContext) -> Any:
    """What `url` answers within five seconds, None where that is no JSON with status 200."""
    try:
        return json.loads(_get(url, token, context) or b"null")
    except ValueError:
        return None


def _get(url: str, token: str | None, context: ssl.SSLContext | None) -> bytes | None:
    request = urllib.request.Request(url)  # noqa: S310  # only our own addresses are asked
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=5) as answer:
            body: bytes = answer.read()
            return body if answer.status == HTTPStatus.OK else None
    except OSError:
        return None
