"""The picture of the dashboard shows what Prometheus answered, and nothing where it answered nothing."""

from __future__ import annotations

import math
import re

import pytest

from monitoring.panels import NUMBER
from monitoring.picture import Line, graph, substitute_variables

GAP = {0.0: 1.0, 1.0: 2.0, 2.0: math.nan, 3.0: 2.0, 4.0: 1.0}


@pytest.mark.parametrize("stacked", [False, True])
def test_a_gap_stays_a_gap(stacked: bool) -> None:
    svg = graph([Line("a <b>", GAP, "red")], start=0, end=4, unit=NUMBER, stacked=stacked)
    assert len(re.findall("<polyline", svg)) == 2
    assert len(re.findall("<polygon", svg)) == (2 if stacked else 0)
    assert "a &lt;b&gt;" in svg


def test_queries_are_those_that_grafana_would_send() -> None:
    assert substitute_variables('rate(x{r=~"$recipe"}[$__rate_interval])', "30s") == 'rate(x{r=~".*"}[30s])'
    assert substitute_variables("increase(x[$__range])", "360s") == "increase(x[360s])"
