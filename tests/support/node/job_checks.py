"""What must hold for Jobs and pods once all setups have ended, besides what holds for every engine."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.chaos.verdict import Figures, judge
from tests.support.node.job_arena import JobArena


@dataclass(frozen=True, slots=True)
class JobFigures:
    """Counts; `of_setups` are those of every engine."""

    of_setups: Figures
    jobs: int
    pods: int
    taken_away: int
    """Pods that the cluster evicted or lost."""
    tombstones: int

    def __str__(self) -> str:
        return (
            f"{self.of_setups}; {self.jobs} Jobs and {self.tombstones} tombstones, {self.pods} pods, of which "
            f"{self.taken_away} the cluster took away, and their Jobs replaced them; never two of a project ran at once"
        )


def check_jobs(arena: JobArena) -> JobFigures:
    """Check everything that the watches saw of the arena's Jobs, pods and setups, and count it."""
    ledger = arena.ledger
    ledger.caught_up()
    overlaps = ledger.overlaps(arena.setups)
    assert overlaps == [], f"two pods of a project ran at once: {overlaps[:3]}"
    unexplained = ledger.unexplained_pods(arena.setups)
    assert unexplained == [], f"pods of Jobs that had one already: {unexplained[:3]}"
    for project, numbers in ledger.starts().items():
        started_again = {number: jobs for number, jobs in numbers.items() if jobs > 1}
        given_back = {number for number in started_again if arena.gave_back(project, number)}
        assert started_again.keys() == given_back, f"{project}: attempts that ran as several Jobs: {started_again}"
    pods = [pod for project in arena.setups for pod in ledger.pods_of(project)]
    return JobFigures(
        of_setups=judge(arena),
        jobs=sum(len(ledger.jobs_of(project)) for project in arena.setups),
        pods=len(pods),
        taken_away=sum(ledger.was_taken_away(pod.name) for pod in pods),
        tombstones=sum(len(ledger.tombstones_of(project)) for project in arena.setups),
    )
