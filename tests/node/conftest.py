"""Tests on a real node print what they measured at the end of the run."""

from __future__ import annotations

from tests.support.figures import pytest_terminal_summary, tell

__all__ = ["pytest_terminal_summary", "tell"]
