"""The mutations: for each promise, the defect that breaks it and the tests that must fail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Mutation:
    """`old`, which `file` contains exactly once, becomes `new`; `tests` are the paths of test modules."""

    promise: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def problem(self, root: Path = ROOT) -> str | None:
        """Why it cannot be applied to the working tree in `root`; None if it can."""
        path = root / self.file
        if not path.is_file():
            return f"{self.file} does not exist"
        missing = [test for test in self.tests if not (root / test).is_file()]
        if missing:
            return f"{missing[0]} does not exist"
        found = path.read_text().count(self.old)
        return None if found == 1 else f"{self.file} contains {self.old!r} {found} times instead of once"

    def apply(self, root: Path) -> None:
        """Break the promise in the copy of the repository in `root`."""
        (root / self.file).write_text(self.broken(root))

    def broken(self, root: Path = ROOT) -> str:
        """What the file contains with the defect."""
        return (root / self.file).read_text().replace(self.old, self.new)


def _of(file: str, *tests: str) -> _Group:
    paths = tuple(f"tests/{test if '/' in test else f'unit/test_{test}'}.py" for test in tests)
    return _Group(f"operator/projectsetup/{file}", paths)


@dataclass(frozen=True, slots=True)
class _Group:
    file: str
    tests: tuple[str, ...]

    def __call__(self, *mutations: tuple[str, str, str]) -> Iterator[Mutation]:
        for promise, old, new in mutations:
            yield Mutation(promise, self.file, old, new, self.tests)


MUTATIONS: Final = (
    *_of("controller/lifecycle.py", "controller_lifecycle")(
        (
            "a recorded end counts after the project was requested again",
            "    if not (_is_ours(project, facts) or requested_again):\n",
            "    if not _is_ours(project, facts):\n",
        ),
        (
            "a cancel stops a running attempt",
            "if facts.resource.cancel_is_new:\n            return StopRun(StopCause.CANCEL)",
            "if False:\n            return StopRun(StopCause.CANCEL)",
        ),
        (
            "spec.suspend stops a running attempt",
            "return StopRun(StopCause.SUSPEND)",
            "return Requeue()",
        ),
        (
            "a deletion stops the running attempt",
            "StopRun(StopCause.DELETED)",
            "ReleaseClaim()",
        ),
        (
            "an attempt that succeeded as its resource was deleted leaves the project ready",
            "ReleaseClaim(ready_fence=run.fence if succeeded else None)",
            "ReleaseClaim(ready_fence=None)",
        ),
        (
            "at most one status write a second between the start and the end of an attempt",
            "facts.last_progress_write + PROGRESS_INTERVAL > facts.now",
            "facts.last_progress_write > facts.now",
        ),
        (
            "progress that did not change is not written",
            "    if new == facts.resource.status:\n        return Requeue(announce_at)\n",
            "",
        ),
        (
            "a Job that was found running is adopted",
            "if facts.engine_outlives_operator and facts.resource.status.run_ref.engine == facts.engine:",
            "if False:",
        ),
        (
            "a local attempt that was found running ends as Interrupted",
            "if facts.engine_outlives_operator and facts.resource.status.run_ref.engine == facts.engine:",
            "if True:",
        ),
        (
            "an attempt that was written down and not started is started, not counted again",
            "        if _is_prepared(facts):\n",
            "        if False:\n",
        ),
        (
            "an end that the record knows completes the status, and nothing runs again",
            "        return _complete(facts, recorded)\n    if not _is_ours(project, facts):\n",
            "        pass\n    if not _is_ours(project, facts):\n",
        ),
        (
            "an adopted Job whose end the record knows is not adopted",
            "        return _complete(facts, recorded)\n    if not _is_ours(project, facts) or",
            "        pass\n    if not _is_ours(project, facts) or",
        ),
        (
            "an operator whose fence has moved on writes nothing and ends",
            "if facts.run is not None and facts.run.fence != project.fence:",
            "if facts.run is not None and facts.run.fence > project.fence:",
        ),
        (
            "a project that another ProjectSetup owns is left alone after an attempt",
            "    if not _is_ours(project, facts):\n        return _refuse(facts, project, attempt=number)\n",
            "",
        ),
        (
            "a retry of what has ended begins a new series",
            "if resource.retry_is_new and not ignored:",
            "if resource.retry_is_new and ignored:",
        ),
        (
            "a restart over finished resources writes nothing",
            "if ignored or resource.status.observed_generation != resource.generation:",
            "if True:",
        ),
        (
            "a change of the spec of what has ended is reported in observedGeneration",
            "if ignored or resource.status.observed_generation != resource.generation:",
            "if ignored:",
        ),
        (
            "what is suspended starts nothing",
            "if spec is not None and spec.suspend and not facts.resource.cancel_is_new:",
            "if False:",
        ),
        (
            "a cancel ends what is suspended",
            "if spec is not None and spec.suspend and not facts.resource.cancel_is_new:",
            "if spec is not None and spec.suspend:",
        ),
        (
            "a success that only the record knows is completed, whatever else was requested",
            "if recorded is not None and recorded.kind is EndKind.SUCCEEDED:",
            "if False:",
        ),
        (
            "a cancel before the first attempt ends the setup",
            "    if facts.resource.cancel_is_new:\n        return _end_without_run",
            "    if False:\n        return _end_without_run",
        ),
        (
            "an invalid spec or annotation is terminal at once",
            "if facts.resource.problem is not None and not _is_foreign(refusal):",
            "if False:",
        ),
        (
            "an invalid recipe, parameter or Secret is terminal at once",
            "    if facts.input_problem is None:\n",
            "    if True:\n",
        ),
        (
            "a ready project that is asked for again is AlreadySetUp",
            "return _already_set_up(facts, project) or _refuse(",
            "return _refuse(",
        ),
        (
            "a ready project that is asked for with other parameters is ProjectInvalidState",
            "    if differs is None:\n",
            "    if True:\n",
        ),
        (
            "max-attempts limits the series",
            "if current.attempt >= tuning.max_attempts:",
            "if current.attempt > tuning.max_attempts:",
        ),
        (
            "nothing starts before nextAttemptAt",
            "if current.next_attempt_at is not None and current.next_attempt_at > facts.now:",
            "if False:",
        ),
        (
            "a missing dependency keeps the attempt from starting",
            "if facts.missing_dependency is not None:",
            "if False:",
        ),
        (
            "nothing starts without a slot",
            "    if not facts.slot:\n",
            "    if False:\n",
        ),
        (
            "the limit of a missing dependency counts from its beginning, across restarts",
            "since = facts.resource.status.dependency_missing_since or facts.now",
            "since = facts.now",
        ),
        (
            "a dependency that is missing for too long is InvalidSpec",
            "    if until <= facts.now:\n",
            "    if False:\n",
        ),
        (
            "the claim of an owner that is gone is released",
            "if refusal.owner is not None and not facts.owner_is_active:",
            "if False:",
        ),
        (
            "the claim of an owner that is active is not released",
            "if refusal.owner is not None and not facts.owner_is_active:",
            "if refusal.owner is not None:",
        ),
        (
            "without the database no attempt is consumed",
            "return _report(facts, status.database_unavailable(facts, why), until=facts.now + DATABASE_POLL)",
            "return Requeue()",
        ),
        (
            "a restart over finished resources reads no record",
            "    return not resource.is_over\n",
            "    return True\n",
        ),
        (
            "a project that does not exist is created from spec.project",
            "    return CreateProject(wanted)\n",
            "    return None\n",
        ),
        (
            "with PROJECTS_FROM_SPEC=false no project is created",
            "    if not facts.projects_from_spec:\n",
            "    if False:\n",
        ),
        (
            "a start leaves an event",
            "    if announce_at is not None and announce_at <= facts.now:\n",
            "    if False:\n",
        ),
    ),
    *_of("controller/outcome.py", "controller_outcome", "controller_lifecycle")(
        (
            "the delay doubles with each attempt",
            "growth = min(2 ** (failed_attempt - 1),",
            "growth = min(failed_attempt,",
        ),
        ("backoff-max caps the delay", "min(backoff * growth, backoff_max)", "backoff * growth"),
        ("jitter is at most 10 %", "MAX_JITTER: Final = 0.10", "MAX_JITTER: Final = 0.50"),
        ("the delay is never less than promised", "(1 + MAX_JITTER * jitter)", "(1 - MAX_JITTER * jitter)"),
        (
            "a business failure is not retried",
            "failure, now, reason=Reason.STEP_FAILED)",
            "failure, now, reason=Reason.ATTEMPTS_EXHAUSTED)",
        ),
        ("an attempt that was released does not count", "return max(self.attempt - 1, 0) if", "return self.attempt if"),
        (
            "backing off is setup_queued in the record",
            "            case EndKind.RETRY | EndKind.RELEASED:\n                return ProjectStatus.SETUP_QUEUED",
            "            case EndKind.RETRY | EndKind.RELEASED:\n                return ProjectStatus.FAILED",
        ),
        (
            "a terminal failure is failed in the record",
            "                return ProjectStatus.FAILED",
            "                return ProjectStatus.CREATED",
        ),
        ("setup_error names the step that failed", "step = self.failure.step if self.failure else None", "step = None"),
        (
            "the last allowed attempt exhausts the series",
            "    if number >= tuning.max_attempts:",
            "    if number > tuning.max_attempts:",
        ),
        (
            "a cancel wins over a retry of the attempt that it stopped",
            "case AttemptStopped() | InfrastructureError() if resource.cancel_is_new:",
            "case AttemptStopped() if resource.cancel_is_new:",
        ),
        (
            "what could not start uses up no attempt",
            "        case NotStarted():\n            return _deferred(number, outcome.message, now)\n",
            "",
        ),
    ),
    *_of("controller/status.py", "controller_lifecycle")(
        ("the last 10 attempts are kept", "ATTEMPTS_KEPT = 10", "ATTEMPTS_KEPT = 11"),
        ("a new series counts from 0", "        attempt=0,\n", ""),
        (
            "a cancel counts as handled only at the end",
            'if truth != "Unknown" or not resource.cancel_is_new:',
            "if True:",
        ),
        ("a coalesced retry ends the delay", 'changes.setdefault("next_attempt_at", facts.now)', "pass"),
        ("failure is absent after success", '"commits": end.commits, "failure": None', '"commits": end.commits'),
        ("no run is reported while none runs", '        "run_ref": None,\n        "attempts"', '        "attempts"'),
        (
            "observedGeneration is current on every path",
            '"observed_generation": resource.generation,',
            '"observed_generation": resource.status.observed_generation,',
        ),
    ),
    *_of("controller/claims.py", "controller_lifecycle")(
        (
            "a field of spec.project that differs from the project is InvalidSpec",
            "        if given is not None and given != recorded:\n",
            "        if False:\n",
        ),
        (
            "only the namespace of a project sees its commits",
            "done.commits if done is not None and project.namespace == resource.namespace else None",
            "done.commits if done is not None else None",
        ),
        (
            "the owner of a claim is reported as ProjectClaimed",
            "ClaimRefusal(Reason.PROJECT_CLAIMED, str(refused), refused.owner)",
            "ClaimRefusal(Reason.PROJECT_INVALID_STATE, str(refused), refused.owner)",
        ),
    ),
    *_of("controller/events.py", "controller_lifecycle")(
        ("a success leaves an event", "return (Event(EventReason.SUCCEEDED, end.message),)", "return ()"),
        (
            "a failure leaves an event",
            'return (Event(EventReason.FAILED, f"{end.reason}: {end.message}", warning=True),)',
            "return ()",
        ),
        ("a cancel leaves an event", "return (Event(EventReason.CANCELLED, end.message),)", "return ()"),
        (
            "a scheduled retry leaves an event",
            "return (Event(EventReason.RETRY_SCHEDULED, end.message, warning=True),)",
            "return ()",
        ),
        (
            "a retry that is ignored leaves an event",
            'return (Event(EventReason.RETRY_IGNORED, "retry ignored: the setup has succeeded"),)',
            "return ()",
        ),
        (
            "a cancel that is ignored leaves an event",
            "return (cancel, RETRY_LOST_TO_CANCEL) if resource.retry_is_new else (cancel,)",
            "return ()",
        ),
        (
            "a retry while the setup is in progress leaves an event",
            "    if not resource.retry_is_new or resource.cancel_is_new:\n",
            "    if True:\n",
        ),
    ),
    *_of("controller/metrics.py", "controller_metrics")(
        ("an attempt that ended is counted once", "before.run_ref is None or after.run_ref is not None", "False"),
        ("a setup that ended is counted once", "after.phase not in OVER or before.phase in OVER", "False"),
        (
            "manual retries are counted with their result",
            "metrics.retry_requested(RETRY_RESULTS[event.reason])",
            'metrics.retry_requested("accepted")',
        ),
    ),
    *_of("controller/metrics.py", "controller_metered_engine")(
        (
            "steps and attempts are measured",
            "            times.progressed(progress.completed)\n",
            "",
        ),
        ("adopted attempts are not measured", "if isinstance(attempt, Adoption):", "if False:"),
    ),
    *_of("observe/metrics.py", "observe_metrics")(
        ("the name of a metric stays as documented", 'self._counter("setups_ended"', 'self._counter("setups_over"'),
        ("counters start at 0", "                counter.labels(value)\n", "                pass\n"),
        ("gauges are current at each scrape", "yield from self._of(self.moment())", "pass"),
    ),
    *_of("kube/leader_election.py", "kube_leader_election")(
        (
            "an operator that could not renew its Lease in time writes nothing",
            "        if self._clock() >= self._renewed_at + limit:\n",
            "        if False:\n",
        ),
        ("the renew deadline is 20 s", "RENEW_DEADLINE = 20.0", "RENEW_DEADLINE = 21.0"),
        (
            "the Lease is renewed every 5 s",
            "RENEW_PERIOD if fresh else RETRY_PERIOD",
            "2 * RENEW_PERIOD if fresh else RETRY_PERIOD",
        ),
        (
            "a renewal counts from when it was requested",
            "        else:\n            self._renewed_at = began\n",
            "        else:\n            self._renewed_at = self._clock()\n",
        ),
        (
            "a Lease that another operator holds ends this leader",
            "        if current is None or current.holder != self.identity:\n",
            "        if current is None:\n",
        ),
        (
            "a clean end releases the Lease",
            '                await self._lease.write("", held)\n            except',
            "                await self._lease.read()\n            except",
        ),
    ),
    *_of("kube/lease.py", "kube_leader_election")(
        (
            "a Lease is not taken before it expires",
            "requested_at - self._unchanged_since >= LEASE_DURATION",
            "requested_at - self._unchanged_since >= 0",
        ),
        (
            "the Lease of a dead operator is not taken before its processes have ended",
            "requested_at - self._dead_since >= DYING",
            "requested_at - self._dead_since >= 0",
        ),
        (
            "a restarted container takes its own Lease back at once",
            'current.holder in {"", self._identity}',
            'current.holder == ""',
        ),
    ),
    *_of("kube/connection.py", "kube_connection_writes")(
        (
            "the leader is checked when a write leaves",
            "            if self.method not in _READING:\n",
            "            if False:\n",
        ),
        (
            "the leader is checked again when a body leaves",
            "            try:\n                self._check()\n",
            "            try:\n                pass\n",
        ),
        (
            "a missing right counts once the API server grants what is surely allowed",
            "if listed.status != HTTPStatus.OK:",
            "if False:",
        ),
    ),
    *_of("intake/decisions.py", "intake_decisions")(
        (
            "a request that was applied is not applied again",
            "    if existing is not None and _was_applied(request, existing):\n",
            "    if False:\n",
        ),
        (
            "a request for a project of another namespace is refused",
            "    if request.project_namespace not in {None, namespace}:\n",
            "    if False:\n",
        ),
        (
            "a request for a ready project starts nothing",
            "    if request.project_status is ProjectStatus.READY:\n",
            "    if False:\n",
        ),
        (
            "a cancel in the same transaction as its setup starts nothing",
            "    if request.cancelled_by is not None and (existing is None or existing.is_over):\n",
            "    if False:\n",
        ),
        (
            "a retry is not merged with an attempt whose end is recorded",
            "    if _has_unreported_end(request, existing):",
            "    if False:",
        ),
        (
            "a retry does not overtake an earlier cancel",
            "    if existing.cancel_is_new:",
            "    if False:",
        ),
    ),
    *_of("intake/intake.py", "integration/test_operator_intake")(
        (
            "a request is closed once it has taken effect",
            "        await self.requests.close(request.id)\n        return True\n",
            "        return True\n",
        ),
        (
            "a cancel in the transaction of a request reaches the setup that runs",
            "asked.kind is RequestKind.CANCEL or asked.cancelled_by is not None",
            "asked.kind is RequestKind.CANCEL",
        ),
        (
            "later requests of a project are handled with its first one",
            "            elif handled:\n",
            "            elif False:\n",
        ),
        (
            "requests wait for a namespace that does not exist yet",
            "except (ClusterError, DatabaseUnavailable) as error:",
            "except DatabaseUnavailable as error:",
        ),
    ),
    *_of("intake/intake.py", "integration/test_intake")(
        (
            "a request that coalesced with a success is accepted",
            "        return existing, await self.requests.current(request.id)\n",
            "        return existing, request\n",
        ),
        (
            "an urgent request waits for no more than the current page",
            "if len(page.requests) == PAGE and not (handled and self._wake.is_set()):",
            "if len(page.requests) == PAGE:",
        ),
        (
            "a request that an admission policy forbids holds up no other",
            "not _DENIED.search(str(error))",
            "True",
        ),
    ),
    *_of("projects/migrations/versions/v0004_requests.py", "integration/test_projects_requests")(
        (
            "a committed request is notified",
            "    PERFORM pg_notify('setup_requests', '');\n    RETURN request;\n",
            "    PERFORM pg_notify('project_status', '');\n    RETURN request;\n",
        ),
        (
            "setup_project() marks the project setup_queued",
            "WHERE p.id = project_id AND p.status IN ('created', 'failed');",
            "WHERE false;",
        ),
        ("setup_project() refuses a ready project", "ELSIF current_status = 'ready' THEN", "ELSIF false THEN"),
        (
            "setup_project() refuses arguments out of range",
            "    IF problem IS NOT NULL THEN\n",
            "    IF false THEN\n",
        ),
        (
            "cancel_setup() says that a setup has ended",
            "RETURN 'already_completed';",
            "RETURN 'ok';",
        ),
        (
            "a change of a project's status is notified",
            "WHEN (OLD.status IS DISTINCT FROM NEW.status)",
            "WHEN (false)",
        ),
    ),
    *_of("engines/local/supervisor/processes.py", "engines_local_supervisor")(
        (
            "grandchildren of a step are killed too",
            "        found.extend(children.get(pid, ()))\n",
            "        pass\n",
        ),
    ),
    *_of("engines/local/supervisor/warden.py", "integration/test_local_engine")(
        ("a daemon in a session of its own ends with its step", "    kernel.become_subreaper()\n", ""),
        ("no step follows one that failed", "continues = succeeded and bool(outputs)", "continues = bool(outputs)"),
    ),
    *_of("engines/local/supervisor/step.py", "integration/test_local_engine")(
        (
            "processes that a step leaves behind end with it",
            "return self.status is not None and self._deadline is None",
            "return False",
        ),
        (
            "a process that is stopped gets SIGTERM first",
            "            send_signal(signal.SIGTERM, processes)\n",
            "",
        ),
        (
            "what survives SIGTERM for the grace is killed",
            "return self._deadline is not None and time.monotonic() >= self._deadline",
            "return False",
        ),
    ),
    *_of("engines/local/supervisor/loop.py", "integration/test_operator_processes")(
        (
            "all processes end when the operator is killed",
            "                if received is None:\n                    return\n                last_message",
            "                if received is None:\n                    continue\n                last_message",
        ),
    ),
    *_of("engines/local/supervisor/loop.py", "integration/test_local_engine_deaths")(
        (
            "all processes end when the operator freezes",
            "            if _clock() - last_message > protocol.SILENCE_LIMIT:\n",
            "            if False:\n",
        ),
        (
            "the step of a killed warden ends with it",
            "self._orphaned_steps.append(warden.operation.id)",
            "self._finish(warden)",
        ),
    ),
    *_of("controller/slots.py", "controller_slots")(
        (
            "who has reached a limit is passed over",
            "            if self._open.issuperset(group):\n",
            "            if True:\n",
        ),
        (
            "who was passed over starts once the limit allows it",
            "                for other in groups.keys() & self._open:\n",
            "                for other in ():\n",
        ),
        (
            "attempts that run already count towards a new limit",
            "limit for (namespace, _), recipe in self._holders.items() for limit in limits.of(namespace, recipe)",
            "limit for limit in ()",
        ),
        (
            "at most CONCURRENCY attempts at once",
            "len(self._holders) < self.capacity",
            "len(self._holders) <= self.capacity",
        ),
        (
            "a paused queue starts nothing",
            "if self.paused or self.closed or self._expected:",
            "if self.closed or self._expected:",
        ),
        (
            "nothing starts before all that wait were seen",
            "if self.paused or self.closed or self._expected:",
            "if self.paused or self.closed:",
        ),
        (
            "nothing starts during a shutdown",
            "self._holders[key] == recipe and not self.closed",
            "self._holders[key] == recipe",
        ),
        (
            "a change of priority takes effect on what is queued",
            "        if known is None or (known.entry, known.recipe) != (entry, recipe):\n",
            "        if known is None:\n",
        ),
        (
            "a setup created again with another recipe waits for that recipe's limit",
            "waiting.entry is entry",
            "waiting.entry == entry",
        ),
        (
            "a slot is valid for the recipe that it was granted to only",
            "self._holders[key] == recipe and not self.closed",
            "not self.closed",
        ),
    ),
    *_of("controller/workqueue.py", "controller_workqueue")(
        ("namespaces take turns", "self._ready.popitem(last=False)", "self._ready.popitem(last=True)"),
        ("no two workers reconcile one resource", "and key not in self._working", ""),
        ("an earlier time that was set before stays", 'if due < self._due.get(key, float("inf")):', "if True:"),
    ),
    *_of("api/resource.py", "api_models", "controller_workqueue")(
        (
            "status of another version does not stop this one",
            "key: value for key, value in fields.items() if key not in bad",
            "key: value for key, value in fields.items()",
        ),
    ),
    *_of("api/annotations.py", "api_annotations")(
        ("priority is 0 to 9", '_number("[0-9]")', '_number("[0-9]+")'),
        ("priority is 1 by default", "priority: int = 1", "priority: int = 0"),
        ("max-attempts is 1 to 20", '_number("[1-9]|1[0-9]|20")', '_number("[0-9]|1[0-9]|20")'),
        ("max-attempts is 3 by default", "max_attempts: int = 3", "max_attempts: int = 4"),
        (
            "backoff is 15s by default",
            "backoff: timedelta = timedelta(seconds=15)",
            "backoff: timedelta = timedelta(seconds=16)",
        ),
        ("backoff-max is 10m by default", "timedelta(minutes=10)", "timedelta(minutes=11)"),
    ),
    *_of("api/durations.py", "api_durations")(
        ("a duration is greater than 0", "if not known or not re.search(NOT_ZERO_PATTERN, text):", "if not known:"),
    ),
    *_of("api/status.py", "api_status")(
        ("a terminal failure is Stalled", 'stalled = status == "False"', "stalled = False"),
        (
            "a suspended setup is not Reconciling",
            'reconciling = status == "Unknown" and reason is not Reason.SUSPENDED',
            'reconciling = status == "Unknown"',
        ),
        (
            "lastTransitionTime changes with the status only",
            "if old is not None and old.status == value else second",
            "if False else second",
        ),
        (
            "a cancelled setup has the phase Cancelled",
            "Phase.CANCELLED if succeeded.reason == Reason.CANCELLED else Phase.FAILED",
            "Phase.FAILED",
        ),
    ),
    *_of("setup/outcome.py", "setup_outcome")(
        ("exit 75 is retryable", "TEMPORARY_FAILURE: Final = 75", "TEMPORARY_FAILURE: Final = 76"),
        ("an exit code that the step's retry names is retryable", "or result.exit_code in step.retry.exit_codes:", ":"),
        (
            "an output line that the step's retry names is retryable",
            "if result.matched_retry_line is not None:",
            "if False:",
        ),
        (
            "a step that timed out is retryable",
            "    if result.timed_out:\n        return Reason.STEP_TIMED_OUT",
            "    if False:\n        return Reason.STEP_TIMED_OUT",
        ),
        ("a step that ran out of memory is retryable", "    if result.oom:", "    if False:"),
        ("a step that a signal killed is retryable", "    if killed_by is not None:", "    if False:"),
        (
            "exit 0 wins over everything else",
            "    if result.exit_code == 0:\n",
            "    if result.exit_code == 0 and not result.timed_out:\n",
        ),
        ("messages have at most 1,024 characters", "MESSAGE_LENGTH: Final = 1024", "MESSAGE_LENGTH: Final = 1025"),
    ),
    *_of("setup/steps.py", "setup_steps")(
        (
            "the setup stops at the first failed step",
            "        if isinstance(outcome, SetupFailed):\n            return outcome\n",
            "",
        ),
        (
            "only steps that ask for credentials see them",
            "credentials = self.credentials if step.credentials else None",
            "credentials = self.credentials",
        ),
        (
            "the timeout of the attempt limits a step",
            "return (own, TimeLimit(own)) if own <= left else",
            "return (own, TimeLimit(own)) if True else",
        ),
        (
            "a step with credentials inherits nothing that an earlier step could write",
            "inherited, paths = trusted_environment(inherited, self.runner.workspace), private_paths(private)",
            "inherited, paths = inherited, private_paths(private)",
        ),
        (
            "HOME of a step with credentials is outside the workspace",
            "inherited, paths = trusted_environment(inherited, self.runner.workspace), private_paths(private)",
            "inherited, paths = trusted_environment(inherited, self.runner.workspace), {}",
        ),
        ("credentials are scrubbed from what steps print", "*(credentials.secrets if credentials else ()), ", "*(), "),
    ),
    *_of("setup/git.py", "setup_git")(
        ("the file protocol is off", '"https:ssh:file" if allow_file else "https:ssh"', '"https:ssh:file"'),
        ("git never asks for a login", '"GIT_TERMINAL_PROMPT": "0"', '"GIT_TERMINAL_PROMPT": "1"'),
        ("credentials go to the hosts of the project only", 'f"credential.{origin}.helper"', '"credential.helper"'),
        ("ssh connects to known hosts only", "StrictHostKeyChecking=yes", "StrictHostKeyChecking=no"),
    ),
    *_of("setup/environment.py", "setup_environment")(
        (
            "a step does not inherit the operator's environment",
            "if name in _INHERITED or name.startswith(_LOCALE_PREFIX) or",
            "if name or",
        ),
        ("git reads no configuration of a user in a step with credentials", '"GIT_CONFIG_GLOBAL": "/dev/null",', ""),
        (
            "PATH of a step with credentials has no entry in the workspace",
            "if not Path(os.path.normpath(entry)).is_relative_to(workspace)",
            "if entry",
        ),
    ),
    *_of("setup/credentials.py", "setup_credentials")(
        (
            "credentials are for the hosts that their Secret names",
            "if self.hosts is not None and host not in self.hosts:",
            "if False:",
        ),
        ("a private key needs known_hosts", "if private_key and not known_hosts:", "if False:"),
    ),
    *_of("projects/claims.py", "projects_claims")(
        ("a project that another ProjectSetup owns is not claimed", "project.owner.uid != owner_uid:", "False:"),
        ("a project of another namespace is hidden", "if project.namespace not in {None, namespace}:", "if False:"),
        (
            "with REQUIRE_NAMESPACE a project without a namespace is not found",
            "(project.namespace is None and namespace_required)",
            "False",
        ),
        ("a ready project is not claimed", "if project.status in _STARTS_FROM or", "if True or"),
    ),
    *_of("projects/statements.py", "integration/test_projects_record", "integration/test_projects_claiming")(
        (
            "a mark changes nothing when the fence has moved on",
            "MARK = _written(update(PROJECTS).where(_ID, _SAME_FENCE)",
            "MARK = _written(update(PROJECTS).where(_ID)",
        ),
        (
            "an end changes nothing when the fence has moved on",
            "FINISH = _with_history(\n    _written(\n        _MOVING_FENCE.where(_SAME_FENCE)",
            "FINISH = _with_history(\n    _written(\n        _MOVING_FENCE",
        ),
        ("the fence only grows", ".values(fence=_C.fence + 1)", ".values(fence=_C.fence)"),
        (
            "a claim of another owner is not taken",
            "or_(_STARTABLE, and_(_OWNED, _C.status != ProjectStatus.READY)), _UNMOVED)",
            "_UNMOVED)",
        ),
        ("a claim of another namespace is refused", "_MOVING_FENCE.where(_OWN_OR_UNASSIGNED, ", "_MOVING_FENCE.where("),
        (
            "the first claim gives a project its namespace",
            '        namespace=bindparam("at_namespace"),\n        owner_uid',
            "        owner_uid",
        ),
        (
            "a project that is being set up is not deleted",
            "delete(PROJECTS).where(_ID, ~_BEING_SET_UP)",
            "delete(PROJECTS).where(_ID)",
        ),
    ),
    *_of("projects/validation.py", "projects_validation")(
        ("local repositories are refused", "    if not allow_file:\n        raise", "    if False:\n        raise"),
    ),
    *_of("git_hosts.py", "git_hosts")(
        ("hosts that are not listed are refused", "        if self.listed:\n", "        if False:\n"),
        (
            "cluster-internal addresses are refused",
            "if host.is_internal or (self.refuses_private and host.is_private):",
            "if False:",
        ),
    ),
    *_of("kube/queue_config.py", "kube_queue_config")(
        (
            "the queue can be paused",
            "return QueueControl(paused, concurrency, limits,",
            "return QueueControl(False, concurrency, limits,",
        ),
        (
            "the concurrency can be changed",
            "    concurrency = setting(CONCURRENCY, _number, last.concurrency)\n",
            "    concurrency = None\n",
        ),
        (
            "a typo neither ends a pause nor lifts a limit",
            "return self.paused or bool(self.unknown)",
            "return self.paused",
        ),
    ),
    *_of("engines/kubernetes_job/manifest.py", "kubernetes_job_manifest")(
        (
            "an attempt runs in one pod",
            '"backoffLimit": 0,\n        "podReplacementPolicy"',
            '"backoffLimit": 1,\n        "podReplacementPolicy"',
        ),
        (
            "the Job has the timeout of the attempt",
            '"activeDeadlineSeconds": min(max(ceil(attempt.timeout - waited), 1), _MAX_SECONDS),',
            "",
        ),
    ),
    *_of(
        "engines/kubernetes_job/outcome.py", "kubernetes_job_outcome", "kubernetes_job_state", "kubernetes_job_monitor"
    )(
        (
            "a report that disagrees with the container's exit code is not believed",
            'return report if end.get("exitCode") == expected else None',
            "return report",
        ),
        (
            "a Job out of time is StepTimedOut",
            "InfrastructureError(Reason.STEP_TIMED_OUT, message, step=step.name)",
            "InfrastructureError(Reason.ENGINE_ERROR, message, step=step.name)",
        ),
        (
            "a step that the deletion of its pod interrupted is retryable",
            "    if report.stopped and not report.timed_out:",
            "    if False:",
        ),
    ),
    *_of("cli/errors.py", "cli_errors")(
        (
            "exit 3 if the cluster cannot be reached",
            "        case ClusterError():\n            return ExitCode.UNREACHABLE",
            "        case ClusterError():\n            return ExitCode.BAD_INPUT",
        ),
        (
            "exit 3 if the database cannot be reached",
            "        case DatabaseUnavailable():\n            return ExitCode.UNREACHABLE",
            "        case DatabaseUnavailable():\n            return ExitCode.BAD_INPUT",
        ),
        ("exit 2 for bad input", "    BAD_INPUT = 2\n", "    BAD_INPUT = 4\n"),
    ),
)
