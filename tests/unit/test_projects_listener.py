"""The time limits of the listener for requests, as the operator promises them."""

from __future__ import annotations

from projectsetup.intake.intake import RETRY_DELAY
from projectsetup.projects.database import CALL_LIMIT
from projectsetup.projects.requests import CHECK_AFTER, CHECK_LIMIT, LOOK_AFTER

PROMISED = 35.0
"""Seconds until a request is noticed, whatever happens to the connections to the database."""
WORK = 5.0
"""Seconds for everything else: connecting again and reading the request."""


def test_a_request_is_noticed_in_time_if_all_connections_were_dropped() -> None:
    listener, first_read = CHECK_AFTER + CHECK_LIMIT, CALL_LIMIT + RETRY_DELAY
    assert listener + first_read + WORK <= PROMISED


def test_a_request_is_noticed_in_time_if_no_notification_comes() -> None:
    assert LOOK_AFTER + CHECK_LIMIT <= PROMISED
