"""Figures that tests report: printed at once, and all together in the summary of the run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.chaos.fault_run import SEED

FIGURES = "figures"
"""The test property that holds a line of figures; reports carry it from the workers to the summary."""


@pytest.fixture
def report_figures(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> Callable[[object], None]:
    """Print figures at once and again in the summary of the run."""

    def report_figures(figures: object) -> None:
        line = f"{request.node.name}: {figures}"
        print(line)
        record_property(FIGURES, line)

    return report_figures


def print_figures(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures of all tests in the summary."""
    reports = [report for name in ("passed", "failed") for report in terminalreporter.stats.get(name, ())]
    lines = [
        line for report in reports if report.when == "call" for name, line in report.user_properties if name == FIGURES
    ]
    if lines:
        terminalreporter.section(f"fault tests, seed {SEED}")
        for line in lines:
            terminalreporter.write_line(line)
