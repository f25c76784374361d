"""Figures that tests print: each at once to who listens, and all of them when all tests are over."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.chaos.fault_run import SEED

FIGURES = "figures"
"""The name of the property of a test that holds a line of them; reports carry it from workers to the summary."""


@pytest.fixture
def report_figures(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> Callable[[object], None]:
    """Print figures when all tests are over, and at once to who listens."""

    def report_figures(figures: object) -> None:
        line = f"{request.node.name}: {figures}"
        print(line)
        record_property(FIGURES, line)

    return report_figures


def print_figures(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures of all tests that ended."""
    reports = [report for name in ("passed", "failed") for report in terminalreporter.stats.get(name, ())]
    lines = [
        line for report in reports if report.when == "call" for name, line in report.user_properties if name == FIGURES
    ]
    if lines:
        terminalreporter.section(f"fault tests, seed {SEED}")
        for line in lines:
            terminalreporter.write_line(line)
