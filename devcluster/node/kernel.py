"""Settings of the kernel that every kubelet changes: the last node that goes puts them back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

SETTINGS: Final = Path("/proc/sys")
CHANGED: Final = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What a kubelet sets, and to what."""


def remember_settings(memory: Path, *, settings: Path = SETTINGS) -> None:
    """Write down how they are, unless `memory` is there: then another node has changed them already."""
    if not memory.exists():
        found = {name: (settings / name).read_text().strip() for name in CHANGED if (settings / name).exists()}
        memory.write_text(json.dumps(found))


def put_settings_back(memory: Path, *, settings: Path = SETTINGS) -> None:
    """Set them as `memory` has them, and forget it; what somebody else has changed since then stays."""
    if not memory.exists():
        return
    for name, value in json.loads(memory.read_text()).items():
        setting = settings / name
        if value != CHANGED[name] == setting.read_text().strip():
            setting.write_text(value)
    memory.unlink()
