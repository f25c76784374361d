"""The attacker may create ProjectSetups in namespace team-a, and has projects for thousands of them.

Each names a different missing Secret, so that the operator keeps asking the API server for all of them, and notices too
late that a Secret of team-b exists.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final, cast

from projectsetup.controller.dependencies import MAX_SECRETS, Missing, MissingDependencies
from projectsetup.controller.ports import Cluster
from projectsetup.controller.workqueue import Key
from projectsetup.recipes.loader import RecipeBook

MANY: Final = 5_000
ANSWER: Final = 0.01
"""Seconds that the API server takes for an answer."""
VICTIM: Final = ("team-b", "victim")


@dataclass
class Secrets:
    """Records each request, and has only the Secret of the victim."""

    asked: list[Key] = field(default_factory=list)

    async def get_secret(self, namespace: str, name: str) -> dict[str, Any] | None:
        self.asked.append((namespace, name))
        return {"token": "dA=="} if namespace == "team-b" else None


def test_a_namespace_with_thousands_of_missing_secrets_delays_no_other() -> None:
    secrets, woken = Secrets(), list[Key]()
    missing = MissingDependencies(cast("Cluster", secrets), RecipeBook(), woken.append)
    for number in range(MANY):
        missing.wait(("team-a", f"setup-{number}"), Missing.secret("team-a", f"secret-{number}"))
    missing.wait(VICTIM, Missing.secret("team-b", "credentials"))
    asyncio.run(missing.check())
    assert woken == [VICTIM]
    assert len(secrets.asked) * ANSWER < 5, "one check takes too long to notice a Secret within the promised 10 s"
    for _ in range(MANY // MAX_SECRETS - 1):
        asyncio.run(missing.check())
    assert len(set(secrets.asked)) == MANY + 1, "some Secrets were never requested"
