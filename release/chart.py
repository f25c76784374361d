"""Generates the parts of the Helm chart that stand elsewhere too: `python -m release.chart`.

The objects that are the same in every installation come from crds/ and manifests/, and the table of values in the
README from values.yaml.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[1]
CHART: Final = ROOT / "charts" / "projectsetup"
COPIED: Final = {
    "projectsetups.yaml": "crds/projectsetups.yaml",
    "admission-policy.yaml": "manifests/base/admission-policy.yaml",
    "jobs-policy.yaml": "manifests/base/jobs-policy.yaml",
    "operator-access.yaml": "manifests/base/operator-access.yaml",
    "people-access.yaml": "manifests/base/people-access.yaml",
    "network-policy.yaml": "manifests/base/network-policy.yaml",
    "steps-network-policy.yaml": "manifests/overlays/local-engine/network-policy.yaml",
    "postgres.yaml": "manifests/overlays/development/postgres.yaml",
    "pod-monitor.yaml": "manifests/monitoring/pod-monitor.yaml",
    "rules.yaml": "manifests/monitoring/rules.yaml",
    "metrics-network-policy.yaml": "manifests/monitoring/network-policy.yaml",
    "dashboard.json": "manifests/monitoring/dashboard.json",
}
"""The files in the chart's folder files/, and where each comes from."""
ATTEMPTS: Final = ("attempts-network-policy.yaml", "manifests/overlays/namespaced/team-a.yaml", "NetworkPolicy")
"""One more file, which consists of the objects of one kind in another."""
_KEY: Final = re.compile(r"^( *)([A-Za-z]+):")
_TABLE: Final = "| value | default | meaning |\n|---|---|---|\n"
"""The README ends with this table."""


def generated_files() -> dict[Path, str]:
    """The content of each generated file, by its path."""
    files = {CHART / "files" / name: (ROOT / source).read_text() for name, source in COPIED.items()}
    name, source, kind = ATTEMPTS
    objects = (ROOT / source).read_text().split("\n---\n")
    files[CHART / "files" / name] = "\n---\n".join(text for text in objects if yaml.safe_load(text)["kind"] == kind)
    readme = CHART / "README.md"
    rows = "".join(f"| `{value}` | {default} | {meaning} |\n" for value, default, meaning in described_values())
    files[readme] = readme.read_text().partition(_TABLE)[0] + _TABLE + rows
    return files


def described_values() -> Iterator[tuple[str, str, str]]:
    """Name, default and meaning of each value of values.yaml; its meaning is the comment above it."""
    text = (CHART / "values.yaml").read_text()
    defaults = yaml.safe_load(text)
    path: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            comment.append(line.lstrip(" #"))
            continue
        if (key := _KEY.match(line)) is not None:
            path[len(key[1]) // 2 :] = [key[2]]
            if comment:
                yield ".".join(path), _shown(_at(defaults, path)), " ".join(comment).replace("|", r"\|")
        comment = []


def _at(values: Mapping[str, Any], path: list[str]) -> object:
    found: Any = values
    for name in path:
        found = found[name]
    return found


def _shown(default: object) -> str:
    if default == "":
        return ""
    text = yaml.safe_dump(default, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()
    return f"`{text}`"


def main() -> None:
    """Write the generated files."""
    shutil.rmtree(CHART / "files", ignore_errors=True)
    (CHART / "files").mkdir()
    for path, text in generated_files().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
