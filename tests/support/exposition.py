"""The metrics that an operator exposes, and those that are documented."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from tests.support.manifests import ROOT

_ROW: Final = re.compile(r"^\| `(projectsetup_\w+)` \| (\w+) \|(.*?)\| .+ \|$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Family:
    """The type of a metric and its labels, without the bounds of buckets."""

    type: str
    labels: frozenset[str]


class Exposition:
    """The answer of `/metrics`."""

    def __init__(self, text: str) -> None:
        self._families = {
            family.name + ("_total" if family.type == "counter" else ""): family
            for family in text_string_to_metric_families(text)
        }

    @property
    def families(self) -> dict[str, Family]:
        """All metrics by name."""
        return {
            name: Family(
                family.type, frozenset(label for sample in family.samples for label in sample.labels if label != "le")
            )
            for name, family in self._families.items()
        }

    def value(self, name: str, **labels: str) -> float:
        """The sum of all values with these labels; for a histogram, the number of observations."""
        family = self._families.get(name)
        if family is None:
            return 0.0
        wanted = f"{name}_count" if family.type == "histogram" else name
        return sum(
            sample.value
            for sample in family.samples
            if sample.name == wanted and labels.items() <= sample.labels.items()
        )


def documented() -> Mapping[str, Family]:
    """The metrics of docs/monitoring.md."""
    text = (ROOT / "docs" / "monitoring.md").read_text()
    return {name: Family(kind, frozenset(re.findall(r"\w+", labels))) for name, kind, labels in _ROW.findall(text)}
