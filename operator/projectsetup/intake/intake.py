"""Carries out the requests of applications, one after the other, while this operator leads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from projectsetup.api.reasons import Reason
from projectsetup.api.resource import ProjectSetupResource, parse_resource
from projectsetup.intake.decisions import Accept, Change, Create, Decision, Refuse, Wait, Withdraw, decide
from projectsetup.kube.errors import ApiConflict, ApiForbidden, ApiNotFound, ApiRejected, ApiUnavailable, SetupNotFound
from projectsetup.kube.leader import Leader
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
    backlog: Backlog = field(default=Backlog(), init=False)
    """What was pending when requests were last read."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

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
            except (ApiUnavailable, ApiNotFound, DatabaseUnavailable) as error:  # not found: the namespace, or the CRD
                delay, retry_delay = retry_delay, min(retry_delay * 2, MAX_RETRY_DELAY)
                _log.warning("cannot handle setup requests; retrying", error=str(error))
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _handle_pending(self) -> bool:
        """Handle pending requests until none is left that can be handled; True if any must wait.

        A request is followed by later ones for the same project, which may come before it in the order.
        """
        handled, waiting = await self._handle_once()
        while handled:
            handled, waiting = await self._handle_once()
        return waiting > 0

    async def _handle_once(self) -> tuple[int, int]:
        """Go through the pending requests in order, a page at a time; how many were handled, how many must wait."""
        handled = waiting = 0
        last = None
        while True:
            page = await self.requests.pending(after=last)
            if page.requests or last is None:
                self.backlog = page.backlog
            for request in page.requests:
                if await self._handle(request):
                    handled += 1
                else:
                    waiting += 1
            if len(page.requests) < PAGE:
                return handled, waiting
            last = page.requests[-1]

    async def _handle(self, request: PendingRequest) -> bool:
        """Handle one request; False if it must wait."""
        name = str(request.project_id)
        may_exist = request.kind is RequestKind.CANCEL or request.cancelled_by is not None
        existing = await self._find(name) if may_exist else None
        for _ in range(MAX_PASSES):
            self.leader.check()
            decision = decide(request, existing, namespace=self.namespace)
            _log.debug("decided", request=str(request.id), decision=type(decision).__name__)
            try:
                return await self._carry_out(request, name, decision)
            except (ApiConflict, SetupNotFound):
                existing = await self._find(name)
            except (ApiRejected, ApiForbidden) as error:
                if isinstance(error, ApiForbidden) and "denied the request" not in str(error):  # as webhooks say
                    raise
                return await self._refuse(request, Refuse(str(error), Reason.INVALID_SPEC))
        return False

    async def _carry_out(self, request: PendingRequest, name: str, decision: Decision) -> bool:
        match decision:
            case Create():
                if request.project_namespace is None:
                    await self.requests.assign(request.project_id, self.namespace)
                await self.setups.create(self.namespace, name, annotations=decision.annotations, spec=decision.spec)
            case Change():
                await self.setups.change(self.namespace, name, decision.annotations, decision.spec)
            case Wait():
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

    async def _refuse(self, request: PendingRequest, refusal: Refuse, *, together_with: UUID | None = None) -> bool:
        _log.info("request refused", request=str(request.id), project=str(request.project_id), why=refusal.error)
        await self.requests.close(
            request.id,
            error=refusal.error,
            reason=refusal.reason,
            together_with=together_with,
        )
        return True

    async def _find(self, name: str) -> ProjectSetupResource | None:
        body = await self.setups.find(self.namespace, name)
        return None if body is None else parse_resource(body)
