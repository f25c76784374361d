"""The rules as Prometheus itself reads them, and queries as Grafana would send them."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.manifests import MANIFESTS, read


def plain_rules(target: Path) -> Path:
    """The groups of the PrometheusRule, in a file of their own."""
    (rule,) = read(MANIFESTS / "monitoring" / "rules.yaml")
    target.write_text(yaml.safe_dump(rule["spec"], sort_keys=False))
    return target


def filled_in(expression: str, interval: str) -> str:
    """A query with Grafana's variables replaced: all recipes, and the interval in the place of both of its own."""
    for name, value in {"$recipe": ".*", "$__rate_interval": interval, "$__range": interval}.items():
        expression = expression.replace(name, value)
    return expression
