"""Vendored files are those that the documentation names."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "operator" / "projectsetup" / "dashboard" / "static"


def test_htmx_is_the_documented_release() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text()
    documented = re.search(r"`htmx\.min\.js`.*?htmx\.org ([0-9.]+).*?`([0-9a-f]{64})`", text, re.DOTALL)
    assert documented, "docs/deployment.md does not say where htmx is from"
    content = (STATIC / "htmx.min.js").read_bytes()
    assert hashlib.sha256(content).hexdigest() == documented[2]
    assert f'"{documented[1]}"'.encode() in content


def test_no_other_script_is_vendored() -> None:
    assert {path.name for path in STATIC.glob("*.js")} == {"htmx.min.js", "live.js"}
