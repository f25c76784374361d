"""Carries out the requests of applications, one after the other, while this operator leads."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from projectsetup.api.reasons import Reason
from projectsetup.api.resource import ProjectSetupResource, parse_resource
from projectsetup.intake.decisions import Accept, Change, Create, Decision, Refuse, Wait, Withdraw, decide
from projectsetup.kube.errors import ApiConflict, ApiForbidden, ApiRejected, ClusterError, SetupNotFound
from projectsetup.kube.leader import Leader, LeaseLost
from projectsetup.kube.setups import SetupClient
from projectsetup.observe.logs import get_logger
from projectsetup.projects.errors import DatabaseUnavailable
from projectsetup.projects.model import Backlog, PendingRequest, RequestKind
from projectsetup.projects.requests import PAGE, SetupRequests

RETRY_DELAY: Final = 0.5
MAX_RETRY_DELAY: Final = 15.0
"""Seconds until requests that could not be handled are tried again; the delay doubles with each failure."""
WAIT_DELAY: Final = 1.0
"""Seconds until a request that waits for its ProjectSetup is decided on again."""
MAX_PASSES: Final = 5
_DENIED: Final = re.compile("denied (the )?request")
"""How the API server words the refusal of a webhook or an admission policy, unlike that of a missing right."""

_log = get_logger("intake")


@dataclass(slots=True)
class Intake:
    """Turns each committed request into one change of a ProjectSetup in `namespace`."""

    requests: SetupRequests
    setups: SetupClient
    leader: Leader
    namespace: str
    wakeups: Callable[[], AsyncIterator[None]]
    """Yields whenever there may be new requests."""
    namespace_required: bool = False
    """Whether nobody can claim a project that belongs to no namespace."""
    backlog: Backlog = field(default=Backlog(), init=False)
    """What was pending when requests were last read."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _waits: dict[UUID, str] = field(default_factory=dict)
    """Why requests wait, by id: each reason is logged once."""

    async def run(self) -> None:
        """Handle requests until cancelled. Raises LeaseLost if this operator must exit."""
        tasks = {asyncio.create_task(self._listen()), asyncio.create_task(self._handle_all())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _listen(self) -> None:
        async for _ in self.wakeups():
            self._wake.set()

    async def _handle_all(self) -> None:
        retry_delay = RETRY_DELAY
        while True:
            self._wake.clear()
            delay: float | None = None
            try:
                if await self._handle_pending():
                    delay = WAIT_DELAY
                retry_delay = RETRY_DELAY
            except (ClusterError, DatabaseUnavailable) as error:
                delay, retry_delay = retry_delay, min(retry_delay * 2, MAX_RETRY_DELAY)
                _log.warning("cannot handle setup requests; retrying", error=str(error))
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _handle_pending(self) -> bool:
        """Handle pending requests in order, a page at a time, until all that are left must wait; True if any must.

        It starts over after a page if more requests have come, which may be more urgent, and at the end if it has
        handled any, which may have held back others of the same projects.
        """
        last, handled, waiting = None, False, False
        while True:
            page = await self.requests.pending(after=last)
            if page.requests or last is None:
                self.backlog = page.backlog
            for request in page.requests:
                done = await self._try_handle(request)
                handled, waiting = handled or done, waiting or not done
            if len(page.requests) == PAGE and not (handled and self._wake.is_set()):
                last = page.requests[-1]
            elif handled:
                self._wake.clear()
                last, handled, waiting = None, False, False
            else:
                return waiting

    async def _try_handle(self, request: PendingRequest) -> bool:
        try:
            done = await self._handle(request)
        except (LeaseLost, ClusterError, DatabaseUnavailable):
            raise
        except Exception:  # noqa: BLE001  # one request must not hold up all others
            _log.exception("unexpected error while handling a setup request", request=str(request.id))
            return False
        if done:
            self._waits.pop(request.id, None)
        return done

    async def _handle(self, asked: PendingRequest) -> bool:
        """Handle one request; False if it must wait."""
        request: PendingRequest | None = asked
        existing = None
        if asked.kind is RequestKind.CANCEL or asked.cancelled_by is not None:
            existing, request = await self._read(asked)
        for _ in range(MAX_PASSES):
            if request is None:
                return True
            self.leader.check()
            decision = decide(request, existing, namespace=self.namespace)
            _log.debug("decided", request=str(request.id), decision=type(decision).__name__)
            try:
                return await self._carry_out(request, decision)
            except (ApiConflict, SetupNotFound):
                existing, request = await self._read(request)
            except (ApiRejected, ApiForbidden) as error:
                if isinstance(error, ApiForbidden) and not _DENIED.search(str(error)):
                    raise
                return await self._refuse(request, Refuse(str(error), Reason.INVALID_SPEC))
        return False

    async def _read(self, request: PendingRequest) -> tuple[ProjectSetupResource | None, PendingRequest | None]:
        """Read the ProjectSetup, then the request, which is None if it was handled.

        The operator records a success before it reports it: in this order, the project of a ProjectSetup that has
        succeeded is ready.
        """
        body = await self.setups.find(self.namespace, str(request.project_id))
        existing = None if body is None else parse_resource(body)
        return existing, await self.requests.current(request.id)

    async def _carry_out(self, request: PendingRequest, decision: Decision) -> bool:
        name = str(request.project_id)
        match decision:
            case Create():
                await self._create(request, decision)
            case Change():
                await self.setups.change(self.namespace, name, decision.annotations, decision.spec)
            case Wait():
                if self._waits.get(request.id) != decision.reason:
                    self._waits[request.id] = decision.reason
                    _log.info("request waits", request=str(request.id), project=name, why=decision.reason)
                return False
            case Withdraw():
                withdrawn = Refuse("cancelled before it started", Reason.CANCELLED)
                return await self._refuse(request, withdrawn, together_with=request.cancelled_by)
            case Refuse():
                return await self._refuse(request, decision)
            case Accept():
                pass
        await self.requests.close(request.id)
        return True

    async def _create(self, request: PendingRequest, decision: Create) -> None:
        """Create the ProjectSetup and let the project belong to its namespace; first that, if a claim needs it."""
        name = str(request.project_id)
        created = self.setups.create(self.namespace, name, annotations=decision.annotations, spec=decision.spec)
        if request.project_namespace is not None:
            await created
            return
        assigned = self.requests.assign(request.project_id, self.namespace)
        if self.namespace_required:
            await assigned
            await created
        else:
            await asyncio.gather(assigned, created)

    async def _refuse(self, request: PendingRequest, refusal: Refuse, *, together_with: UUID | None = None) -> bool:
        _log.info("request refused", request=str(request.id), project=str(request.project_id), why=refusal.error)
        await self.requests.close(
            request.id,
            error=refusal.error,
            reason=refusal.reason,
            together_with=together_with,
        )
        return True
