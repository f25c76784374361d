"""The rules as Prometheus itself reads them."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.support.manifests import MANIFESTS, read


def plain_rules(target: Path) -> Path:
    """The groups of the PrometheusRule, in a file of their own."""
    (rule,) = read(MANIFESTS / "monitoring" / "rules.yaml")
    target.write_text(yaml.safe_dump(rule["spec"], sort_keys=False))
    return target
