"""Restarts an operator as a kubelet does."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.operator_process import OperatorProcess


@dataclass(slots=True)
class Restarter:
    """Starts the operator again when it has ended because it could not renew its Lease."""

    operator: OperatorProcess
    restarts: int = 0

    def look(self) -> None:
        """To be called again and again."""
        if self.operator.alive:
            return
        assert self.operator.process.returncode == 1, self.operator.log_tail()
        assert "lost the leader lease" in self.operator.log_tail(), self.operator.log_tail()
        self.restarts += 1
        self.operator.start(ready=False)
