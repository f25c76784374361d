"""Which Job, and whose it is: told by uids and controllers, since names and labels are anybody's to write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from projectsetup.api.constants import GROUP, KIND, controller_of, controller_uid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from projectsetup.engines.kubernetes_job.ports import Body, JobCluster


@dataclass(frozen=True, slots=True)
class JobRef:
    """One Job; another one of the same name has another uid."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def of(cls, job: Body) -> Self:
        """This Job."""
        metadata = job["metadata"]
        return cls(metadata["namespace"], metadata["name"], metadata["uid"])

    async def read(self, cluster: JobCluster) -> tuple[Body | None, Sequence[Body]]:
        """The Job as it is stored, None when it has gone, and the pods that it controls."""
        job = await cluster.get_job(self.namespace, self.name)
        found = job if job is not None and job["metadata"]["uid"] == self.uid else None
        return found, await cluster.pods_of(self.namespace, self.uid)

    async def delete(self, cluster: JobCluster) -> None:
        """Ask for its deletion, which leaves another Job of the same name alone."""
        await cluster.delete_job(self.namespace, self.name, self.uid)


def setup_of(job: Body) -> str | None:
    """The name of the ProjectSetup that controls the Job; None when none does."""
    controller = controller_of(job)
    if controller is None or controller.get("kind") != KIND:
        return None
    return controller.get("name") if str(controller.get("apiVersion")).partition("/")[0] == GROUP else None


def belongs_to(job: Body, uid: str) -> bool:
    """Whether the ProjectSetup with this uid controls the Job."""
    return setup_of(job) is not None and controller_uid(job) == uid
