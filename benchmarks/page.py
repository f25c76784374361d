"""The page of the results: what was measured as JSON, and from that the tables and plots of docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.figures import Comparison, Goal, Report, number
from benchmarks.plot import bars, lines

PAGE: Final = "performance.md"
RESULTS: Final = "performance"
"""The folder beside the page that holds results and plots."""
BEGIN, END = "<!-- begin of what make bench writes -->", "<!-- end of what make bench writes -->"
_ORDER: Final = (
    "operator",
    "seven-steps",
    "latency",
    "scale",
    "real-job",
    "real-job-on-node",
    "priority",
    "step",
    "jobs",
)


def keep(folder: Path, report: Report) -> None:
    """Write the results and plots of one benchmark."""
    results = folder / RESULTS
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{report.name}.json").write_text(report.model_dump_json(indent=1) + "\n")
    for name, drawing in _plots(report):
        (results / name).write_text(drawing)


def render(folder: Path) -> None:
    """Write the page anew from the results that are there; what stands outside the marks is kept."""
    found = [folder / RESULTS / f"{name}.json" for name in _ORDER]
    reports = [Report.model_validate_json(path.read_text()) for path in found if path.exists()]
    page = folder / PAGE
    text = page.read_text() if page.exists() else f"# Performance\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    made = "\n".join([_summary(reports), *(markdown(report, plots=f"{RESULTS}/") for report in reports)])
    page.write_text(f"{before}{BEGIN}\n\n{made}\n{END}{after}")


def markdown(report: Report, plots: str | None = None) -> str:
    """One benchmark; with its plots where `plots` says where they are."""
    parts = [f"## {report.title}", report.text.strip()]
    if report.quick:
        parts.append("**A quick run: it shows that the benchmark works, and measures nothing.**")
    if report.goals:
        parts.append(_goals(report.goals))
    if plots is not None:
        parts += [f"![{name.removesuffix('.svg')}]({plots}{name})" for name, _ in _plots(report)]
    parts += [_comparison(comparison) for comparison in report.comparisons]
    parts += [_table([table.title, *table.columns[1:]], table.rows) for table in report.tables]
    parts.append(f"Measured {_circumstances(report)} in {report.took:,.0f} s.")
    return "\n\n".join(parts) + "\n"


def _plots(report: Report) -> Iterator[tuple[str, str]]:
    """The first comparison, which is the one that counts, and all curves."""
    if report.comparisons:
        yield f"{report.name}.svg", bars(report.comparisons[0])
    for number_, curve in enumerate(report.curves, 1):
        yield f"{report.name}-{number_}.svg", lines(curve)


def _summary(reports: list[Report]) -> str:
    rows = [[report.title, *_told(goal)] for report in reports for goal in report.goals]
    machine = [[name, value] for name, value in reports[-1].machine.items()] if reports else []
    goals = _table(["part", "goal", "limit", "measured", "met"], rows)
    return "\n\n".join(["## Goals", goals, "## The machine", _table(["", ""], machine)]) + "\n"


def _goals(goals: Sequence[Goal]) -> str:
    return _table(["goal", "limit", "measured", "met"], [_told(goal) for goal in goals])


def _told(goal: Goal) -> list[str]:
    return [goal.what, goal.limit, goal.measured, "yes" if goal.met else "**no**"]


def _comparison(comparison: Comparison) -> str:
    better = f"{comparison.better} is better"
    rows = []
    for index, contender in enumerate(comparison.contenders):
        advantage = comparison.advantage(contender) if index else None
        ratio = f"**{advantage:.2f}** times" if advantage is not None else ""
        spread = f"{number(min(contender.rounds))} to {number(max(contender.rounds))}"
        rows.append([contender.name, ratio, number(contender.typical), spread])
    return _table([f"{comparison.title} ({better})", "ours is better by", f"{comparison.unit}, median", "spread"], rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _circumstances(report: Report) -> str:
    return f"{report.machine['date']}, load {report.machine['load before']} before it,"
