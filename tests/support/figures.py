"""Figures that tests print: each at once to who listens, and all of them when all tests are over."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.chaos.form import SEED

_told: list[str] = []


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[object], None]:
    """Print figures when all tests are over, and at once to who listens."""

    def tell(figures: object) -> None:
        line = f"{request.node.name}: {figures}"
        print(line)
        _told.append(line)

    return tell


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures, once, however many folders of tests use them."""
    if _told:
        terminalreporter.section(f"fault tests, seed {SEED}")
        for line in _told:
            terminalreporter.write_line(line)
        _told.clear()
