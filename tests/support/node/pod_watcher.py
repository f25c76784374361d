"""The processes of pods, from /proc of the machine that is their node."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from projectsetup.engines.kubernetes_job.pod import ROOT
from tests.support.chaos.watcher import Sight, Watcher

_POD: Final = re.compile(r"/pod([0-9a-f-]{36})/")


@dataclass(slots=True)
class PodWatcher(Watcher):
    """The place of an attempt is its pod here; all workspaces have the same path."""

    root: Path = Path(str(ROOT))
    period: float = 0.2

    def _sight(self, pid: int) -> Sight | None:
        sight = Watcher._sight(self, pid)
        if sight is None:
            return None
        try:
            found = _POD.search(Path(f"/proc/{pid}/cgroup").read_text())
        except OSError:
            return None
        return replace(sight, workspace=found[1]) if found else None
