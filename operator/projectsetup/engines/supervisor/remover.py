"""The process that removes the directory of one attempt."""

from __future__ import annotations

import signal

from projectsetup.engines.supervisor.kernel import signal_on_parent_death
from projectsetup.engines.supervisor.results import report
from projectsetup.engines.supervisor.trees import remove_tree


def run_remover(supervisor: int, path: str, result: int) -> None:
    """Remove the directory, in a fork of the supervisor, and report when some of it is still there."""
    if signal_on_parent_death(signal.SIGKILL, supervisor):
        try:
            remove_tree(path)
        except OSError as error:
            report(result, {"error": str(error)})
