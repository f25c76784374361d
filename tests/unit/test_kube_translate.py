"""Errors of the Kubernetes client in our words."""

from __future__ import annotations

import json

import aiohttp
import pytest
from kubernetes.aio.client.exceptions import ApiException

from projectsetup.kube.client import translated
from projectsetup.kube.errors import (
    ApiConflict,
    ApiExpired,
    ApiForbidden,
    ApiNotFound,
    ApiNotInstalled,
    ApiRejected,
    ApiUnavailable,
    ClusterError,
)


def told(error: Exception) -> ClusterError:
    """What becomes of an error."""
    with pytest.raises(ClusterError) as caught, translated("list things"):
        raise error
    assert caught.value.__cause__ is error
    return caught.value


def answer(status: int, *, body: str | None = None, reason: str = "Because") -> ApiException:
    error = ApiException(status=status, reason=reason)
    error.body = body
    return error


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (0, ApiUnavailable),
        (400, ApiRejected),
        (401, ApiUnavailable),
        (403, ApiForbidden),
        (404, ApiNotInstalled),
        (408, ApiUnavailable),
        (409, ApiConflict),
        (410, ApiExpired),
        (422, ApiRejected),
        (429, ApiUnavailable),
        (500, ApiUnavailable),
        (503, ApiUnavailable),
        (504, ApiUnavailable),
    ],
)
def test_an_answer(status: int, kind: type[ClusterError]) -> None:
    assert type(told(answer(status))) is kind


def test_a_missing_object_is_told_from_a_kind_that_is_not_served() -> None:
    body = json.dumps({"kind": "Status", "reason": "NotFound", "message": 'things "a" not found'})
    assert type(told(answer(404, body=body))) is ApiNotFound
    assert type(told(answer(404, body="404 page not found"))) is ApiNotInstalled


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ClientConnectionError("reset"),
        aiohttp.ClientPayloadError("cut"),
        aiohttp.ServerDisconnectedError(),
        TimeoutError(),
        ConnectionRefusedError(111, "refused"),
    ],
)
def test_no_answer(error: Exception) -> None:
    assert type(told(error)) is ApiUnavailable


def test_the_text_is_what_the_server_says_in_one_line() -> None:
    body = json.dumps({"message": "the object\nhas   changed"})
    assert str(told(answer(409, body=body))) == "list things: 409 the object has changed"


@pytest.mark.parametrize("body", [None, "", "<html>", "[]", "{}", '{"message": null}'])
def test_an_answer_without_a_message_gives_its_reason(body: str | None) -> None:
    assert str(told(answer(500, body=body))) == "list things: 500 Because"


def test_an_error_without_words_gives_its_name_and_a_long_one_is_cut() -> None:
    assert str(told(ConnectionResetError())) == "list things: ConnectionResetError"
    assert len(str(told(OSError("x" * 5000)))) < 400
    assert len(str(told(answer(500, body=json.dumps({"message": "x" * 5000}))))) < 600


def test_what_is_no_error_of_the_client_is_a_bug_and_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), translated("divide"):
        raise ZeroDivisionError
