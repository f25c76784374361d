"""Health, metrics, events and logs of the operator, and the namespaces that it serves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from projectsetup.kube.connection import Kubeconfig, connect
from projectsetup.kube.setups import OPERATOR, SetupClient
from tests.support.api_server import UNSEEN, ApiServer
from tests.support.exposition import Exposition
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import NO_BACKOFF, Sandbox
from tests.support.setup_handle import Setup, Steps


def test_health_readiness_and_metrics(sandbox: Sandbox) -> None:
    Setup.make(sandbox).ended()
    assert sandbox.operator.get("/healthz") == (200, "ok\n")
    code, text = sandbox.operator.get("/readyz")
    assert code == 200
    assert {"database: ok", "api server: ok", "watch: ok"} <= set(text.splitlines())
    code, text = sandbox.operator.get("/metrics")
    assert code == 200
    found = Exposition(text)
    assert found.value("projectsetup_setups_ended_total", outcome="Succeeded", reason="SetupSucceeded") >= 1
    assert found.value("projectsetup_leading") == 1
    assert sandbox.operator.get("/nothing")[0] == 404


def test_only_the_configured_namespaces_are_served(kubeconfig: Path, sandbox: Sandbox) -> None:
    foreign = Setup.make(sandbox, api=ApiServer.prepared(kubeconfig, "foreign"))
    assert Setup.make(sandbox).ended()[0] == "SetupSucceeded"
    assert (foreign.status, foreign.record["status"]) == (UNSEEN, "created")


def stored(api: ApiServer, name: str, reason: str) -> list[dict[str, Any]]:
    """The events of one reason, one for each object in the API server."""
    found = {event["metadata"]["name"]: event for event in api.events(name) if event["reason"] == reason}
    return list(found.values())


def wait_for_event_count(setup: Setup, reason: str, times: int) -> None:
    wait_for(lambda: setup.events.count(reason) == times, f"the event {reason} to occur {times} times")


def test_repeated_ignored_requests_share_one_event_across_restarts(sandbox: Sandbox) -> None:
    setup = Setup.make(sandbox)
    setup.ended()
    for number in range(3):
        if number == 2:
            assert sandbox.operator.terminate() == 0
            sandbox.operator.start()
        setup.annotate(retry_requested_at=str(number))
        wait_for_event_count(setup, "RetryIgnored", number + 1)
    (event,) = stored(setup.api, setup.name, "RetryIgnored")
    assert event["series"]["count"] == 3
    setup.wait_for_events("Succeeded", *["RetryIgnored"] * 3)
    assert "x3 over" in setup.api.kubectl("describe", "projectsetup", setup.name)


def test_a_new_series_of_attempts_starts_a_new_event(sandbox: Sandbox, steps: Steps) -> None:
    setup = Setup.make(sandbox, "scripts", first='[ -e "$PARAM_PLACE/go" ] || exit 1', place=str(steps.folder))
    for retry in ("1", "2"):
        setup.reached("Failed")
        setup.annotate(retry_requested_at=retry)
        setup.ended_after_retry(retry)
    wait_for_event_count(setup, "Failed", 3)
    assert [len(stored(setup.api, setup.name, why)) for why in ("Failed", "RetryRequested")] == [1, 1]
    steps.release()
    setup.annotate(retry_requested_at="3")
    assert setup.ended_after_retry("3")[0] == "SetupSucceeded"
    wait_for(lambda: setup.events[-1] == "Succeeded", "the event of the success")


async def test_only_identical_events_on_the_same_object_are_counted_together(
    sandbox: Sandbox, kubeconfig: Path
) -> None:
    name = sandbox.api.create(spec={"suspend": True})["metadata"]["name"]
    async with await connect(Kubeconfig(str(kubeconfig))) as api:
        cluster = SetupClient(api, field_manager=OPERATOR)

        async def report(uid: str, reason: str, message: str, reporter: str = "one") -> None:
            await cluster.post_event(
                namespace=sandbox.api.namespace,
                name=name,
                uid=uid,
                reason=reason,
                message=message,
                warning=False,
                reporter=reporter,
            )

        await report("uid-1", "Failed", "why")
        await report("uid-1", "Failed", "why", "another operator")
        await report("uid-1", "Failed", "another why")
        await report("uid-1", "Started", "why")
        await report("uid-2", "Failed", "why")
    counts = [event.get("series", {}).get("count", 1) for event in stored(sandbox.api, name, "Failed")]
    assert sorted(counts) == [1, 1, 2]
    assert len(stored(sandbox.api, name, "Started")) == 1


PASSWORD = "p%s'\"$(id)\\ =ä&7"
URL = "postgresql://operator:hunter22hunter22@database.example/projects"
LOGGING = f"""
import logging
from projectsetup.observe.logs import about_setup, configure_logging, get_logger
from projectsetup.setup.scrub import Scrubber
url = {URL!r}
configure_logging("json", scrub=Scrubber([url]).scrub)
log, library = get_logger("test"), logging.getLogger("library")
log.info("connecting to " + url, error="token=abcdefgh at " + url, count=3)
library.warning("cannot reach %s", url)
try:
    raise OSError(url)
except OSError:
    log.exception("it broke")
    library.exception("it broke")
with about_setup(("team-a", "id-1"), attempt=2, step=None):
    library.warning("within")
library.warning("tagged", extra={{"namespace": "team-a", "project": "id-2"}})
library.warning("after")
"""
BREAKS_ONCE = 'echo "signed in with $PROJECT_GIT_PASSWORD"; [ "$ATTEMPT" -gt 1 ] || exit 75'


def test_the_log_shows_the_history_of_a_setup(sandbox: Sandbox) -> None:
    setup = Setup.make(
        sandbox,
        "scripts",
        project=sandbox.project(code_repo="https://git.example.test/history.git"),
        first="echo begun",
        second=BREAKS_ONCE,
        annotations=NO_BACKOFF,
        spec={"credentialsSecretRef": sandbox.secret(username="bob", password=PASSWORD)},
    )
    why, status = setup.ended()
    assert why == "SetupSucceeded", status
    setup.wait_for_events("RetryScheduled", "Succeeded")
    text = sandbox.operator.log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert all({"event", "level", "timestamp", "logger"} <= line.keys() for line in lines)
    own = [line for line in lines if setup.name in json.dumps(line)]
    assert {(line["namespace"], line["project"]) for line in own} == {(setup.api.namespace, setup.name)}
    assert [(line.get("reason") or line["event"], line["attempt"], line.get("step")) for line in own] == [
        ("Started", 1, "first"),
        ("begun", 1, "first"),
        ("step started", 1, "second"),
        ("signed in with ***", 1, "second"),
        ("RetryScheduled", 1, "second"),
        ("Started", 2, "first"),
        ("begun", 2, "first"),
        ("step started", 2, "second"),
        ("signed in with ***", 2, "second"),
        ("step started", 2, "third"),
        ("Succeeded", 2, None),
    ]
    for secret in (PASSWORD, json.dumps(PASSWORD)[1:-1], urlsplit(sandbox.database_url).password):
        assert secret, "a secret that is none hides nowhere"
        assert secret not in text


def test_no_log_line_holds_a_secret_and_those_of_libraries_name_their_setup() -> None:
    done = subprocess.run([sys.executable, "-c", LOGGING], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    events = ["connecting to ***", "cannot reach ***", "it broke", "it broke", "within", "tagged", "after"]
    assert [line["event"] for line in lines] == events
    assert (lines[0]["error"], lines[0]["count"]) == ("token=*** at ***", 3)
    assert all("OSError: ***" in line["exception"] for line in lines[2:4])
    assert "hunter22" not in done.stderr
    within, tagged, after = lines[4:]
    assert {"namespace": "team-a", "project": "id-1", "attempt": 2}.items() <= within.items()
    assert "step" not in within
    assert {"namespace": "team-a", "project": "id-2"}.items() <= tagged.items()
    assert not {"namespace", "project", "attempt"} & after.keys()
