"""Foreign errors of the Kubernetes client, translated once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import aiohttp
from kubernetes.aio.client.exceptions import ApiException

from projectsetup.kube.errors import (
    ApiConflict,
    ApiForbidden,
    ApiNoRoom,
    ApiNotFound,
    ApiRejected,
    ApiUnavailable,
    ClusterError,
)

_TERMINATING = "NamespaceTerminating"
_TEMPORARY = {HTTPStatus.UNAUTHORIZED, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Run a call to the API server; `what` begins the text of the error, such as "patch status of ns/name"."""
    try:
        yield
    except ApiException as error:
        raise _of_answer(what, error) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ApiUnavailable(f"{what}: {_short(error)}") from error


def _of_answer(what: str, error: ApiException) -> ClusterError:
    status = int(error.status or 0)
    text = f"{what}: {status} {_message(error)}"
    if status == HTTPStatus.NOT_FOUND:
        return ApiNotFound(text)
    if status == HTTPStatus.CONFLICT:
        return ApiConflict(text)
    if status == HTTPStatus.FORBIDDEN:
        return ApiNoRoom(text) if _has_no_room(error) else ApiForbidden(text)
    if status in _TEMPORARY or status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == 0:
        return ApiUnavailable(text)
    return ApiRejected(text)


def _message(error: ApiException) -> str:
    message = _body(error).get("message")
    return " ".join(str(message or error.reason or "no reason given").split())[:500]


def _has_no_room(error: ApiException) -> bool:
    """A full quota is told in words alone."""
    body = _body(error)
    causes = (body.get("details") or {}).get("causes") or ()
    return "exceeded quota: " in _message(error) or any(cause.get("reason") == _TERMINATING for cause in causes)


def _body(error: ApiException) -> dict[str, Any]:
    try:
        body = json.loads(error.body or "{}")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _short(error: BaseException) -> str:
    nothing_said = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    return " ".join(str(error).split())[:300] or nothing_said
