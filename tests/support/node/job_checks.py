"""What must hold for Jobs and pods once all setups have ended, besides what holds for every engine."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.chaos.invariants import Figures, check_invariants
from tests.support.node.job_fault_run import JobFaultRun


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


def check_jobs(fault_run: JobFaultRun) -> JobFigures:
    """Check everything that the watches saw of the fault run's Jobs, pods and setups, and count it."""
    watch_history = fault_run.watch_history
    watch_history.caught_up()
    overlaps = watch_history.overlaps(fault_run.setups)
    assert overlaps == [], f"two pods of a project ran at once: {overlaps[:3]}"
    unexplained = watch_history.unexplained_pods(fault_run.setups)
    assert unexplained == [], f"pods of Jobs that had one already: {unexplained[:3]}"
    for project, numbers in watch_history.starts().items():
        started_again = {number: jobs for number, jobs in numbers.items() if jobs > 1}
        given_back = {number for number in started_again if fault_run.gave_back(project, number)}
        assert started_again.keys() == given_back, f"{project}: attempts that ran as several Jobs: {started_again}"
    pods = [pod for project in fault_run.setups for pod in watch_history.pods_of(project)]
    return JobFigures(
        of_setups=check_invariants(fault_run),
        jobs=sum(len(watch_history.jobs_of(project)) for project in fault_run.setups),
        pods=len(pods),
        taken_away=sum(watch_history.was_taken_away(pod.name) for pod in pods),
        tombstones=sum(len(watch_history.tombstones_of(project)) for project in fault_run.setups),
    )
