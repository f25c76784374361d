"""The page of the benchmarks, rendered from results that were recorded."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from benchmarks import page
from benchmarks.figures import (
    Better,
    Comparison,
    Contender,
    Curve,
    Peer,
    Report,
    Series,
    Table,
    at_least,
    at_most,
)

REPORT = Report(
    name="operator",
    title="Operator cost",
    text="How it was measured.",
    quick=False,
    machine={"date": "2026-01-01 00:00 UTC", "load before": "0.10", "cores": "2"},
    took=61.0,
    goals=[at_least("setups per second relative to the peer", 2, 2.5, "times"), at_most("writes", 2, 3)],
    comparisons=[
        Comparison(
            title="Setups",
            unit="a second",
            better="more",
            contenders=[
                Contender(name="ours", rounds=[50, 40, 60]),
                Contender(name="peer <&>", rounds=[20, 25, 10]),
                Contender(name="nothing", rounds=[0]),
            ],
        )
    ],
    curves=[Curve(title="Memory", x="resources", y="MiB", series=[Series(name="ours", points=[(1, 2), (10, 20)])])],
    tables=[Table(title="Imports", columns=["import", "MiB"], rows=[["kopf", "5.9"]])],
)


def test_tables_and_plots_are_rendered_between_the_marks(tmp_path: Path) -> None:
    (tmp_path / page.PAGE).write_text(f"# Ours\n\n{page.BEGIN}\nold\n{page.END}\n\n## Tried\n")
    page.keep(tmp_path, REPORT)
    page.render(tmp_path, [REPORT.name])
    text = (tmp_path / page.PAGE).read_text()
    assert text.startswith("# Ours\n")
    headings = ("## Peers", "## How it was measured", "## Goals", "## The machine", "## Operator cost", "## Tried")
    assert [line for line in text.splitlines() if line in headings] == list(headings)
    assert text.endswith("\n\n## Tried\n")
    assert "old" not in text
    assert "| ours |  | 50 | 40 to 60 |" in text
    assert "| peer <&> | **2.50** times | 20 | 10 to 25 |" in text
    assert "| nothing |  | 0 | 0 to 0 |" in text
    assert "| Operator cost | writes | ≤ 2 | 3 | **no** |" in text
    assert "| kopf | 5.9 |" in text
    again = Report.model_validate_json((tmp_path / page.RESULTS / "operator.json").read_text())
    assert page.markdown(again) == page.markdown(REPORT)
    for plot in ("operator.svg", "operator-1.svg"):
        assert f"(performance/{plot})" in text
        assert ET.fromstring((tmp_path / page.RESULTS / plot).read_text()).tag.endswith("svg")  # noqa: S314  # our own


def test_the_page_begins_with_a_line_for_each_peer() -> None:
    def compared(headline: str, better: Better, ours: float, peer: Contender) -> Comparison:
        contenders = [Contender(name="ours", rounds=[ours]), peer, Contender(name="a variant", rounds=[1])]
        return Comparison(title=headline, unit="s", better=better, contenders=contenders, headline=headline)

    def job(value: float, *, unfinished: bool = False) -> Contender:
        return Contender(name="Job", rounds=[value], unfinished=unfinished)

    found = REPORT.model_copy(
        update={
            "peers": [Peer(name="Job", what="a Job"), Peer(name="other", what="not measured")],
            "comparisons": [
                compared("time", "less", 2, job(5)),
                compared("rate", "more", 10, job(40)),
                compared("writes", "less", 100, job(104)),
                compared("", "less", 1, job(2)),
            ],
            "after_kill": [
                compared("kill", "less", 3, job(330, unfinished=True)),
                compared("again", "less", 0, job(4)),
                compared("late", "less", 4, job(0)),
            ],
        }
    )
    assert page.peers([REPORT, found]).splitlines()[2:] == [
        (
            "| **Job** | a Job |"
            " time: **2.5 times** (2 against 5 s)<br>kill: **more than 110 times** (3 against more than 330 s)<br>"
            "again: 0 against 4 s |"
            " writes: 100 against 104 s |"
            " rate: **4 times** (10 against 40 s)<br>late: 4 against 0 s |"
        ),
        "| **other** | not measured |  |  |  |",
    ]


def test_a_line_stays_on_the_plot_below_zero() -> None:
    """A peer's process may begin before the response to the creation has arrived."""
    curve = Curve(title="Latency", x="ms", y="%", series=[Series(name="peer", points=[(-1.2, 1), (0, 50), (9, 100)])])
    drawing = ET.fromstring(page.lines(curve))  # noqa: S314  # our own
    (path,) = [shape.attrib["points"] for shape in drawing if shape.tag.endswith("polyline")]
    across = [float(point.partition(",")[0]) for point in path.split()]
    ticks = [
        float(shape.attrib["x"])
        for shape in drawing
        if shape.attrib.get("text-anchor") == "middle" and shape.text == "0"
    ]
    assert across[0] == page._LEFT  # where the plot begins
    assert ticks == [across[1]]
