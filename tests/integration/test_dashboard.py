"""`projectsetup dashboard` as a process, with the requests of browsers and of attackers."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from projectsetup.api.constants import CANCEL_REQUESTED_AT, PRIORITY, RETRY_REQUESTED_AT
from projectsetup.api.models import Commits, Failure
from projectsetup.api.reasons import Reason
from tests.support.api_server import ApiServer
from tests.support.command_line import CommandLine, process, write_kubeconfig
from tests.support.dashboard_process import Dashboard, section
from tests.support.operator_sandbox import Sandbox
from tests.support.setup_bodies import NOON, status
from tests.support.setup_handle import Setup, Steps
from tests.support.tcp_proxy import proxied_api_server

BAD = "<script>alert(1)</script>"
FAILED = status(
    Reason.STEP_FAILED, BAD, attempt=1, finished_at=NOON,
    failure=Failure(reason="StepFailed", message=BAD, step="test", exit_code=2, retryable=False),
)  # fmt: skip
SUCCEEDED = status(
    Reason.SETUP_SUCCEEDED, "set up", attempt=1, finished_at=NOON, commits=Commits(code_repo="c0de", docs_repo="d0c5")
)


@pytest.fixture(scope="module")
def still(kubeconfig: Path) -> ApiServer:
    """A namespace that no operator serves."""
    return ApiServer.prepared(kubeconfig, "dashboard")


@pytest.fixture(scope="module")
def failed(still: ApiServer) -> str:
    """A failed setup in that namespace."""
    name: str = still.create()["metadata"]["name"]
    still.patch_status(name, FAILED)
    return name


@pytest.fixture(scope="module")
def reading(still: ApiServer, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A dashboard of that namespace."""
    options = ("-n", still.namespace, "--operator-namespace", still.namespace)
    with Dashboard(tmp_path_factory.mktemp("reading"), kubeconfig, *options) as dashboard:
        yield dashboard


@pytest.fixture(scope="module")
def acting(still: ApiServer, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A dashboard of that namespace with buttons."""
    options = ("-n", still.namespace, "--allow-actions")
    with Dashboard(tmp_path_factory.mktemp("acting"), kubeconfig, *options) as dashboard:
        yield dashboard


def asked_for(api: ApiServer, name: str) -> set[str]:
    """The requests in the annotations of a setup."""
    return {*(api.get(name)["metadata"].get("annotations") or {})} & {RETRY_REQUESTED_AT, CANCEL_REQUESTED_AT}


def test_it_shows_setups_as_they_change(reading: Dashboard, still: ApiServer, failed: str) -> None:
    later, sooner = (still.create(annotations={PRIORITY: priority})["metadata"]["name"] for priority in ("2", "0"))
    board = reading.wait_for("the queue", lambda text: later in text and sooner in text and "Not paused." in text)
    queue = section(board, "queue")
    assert queue.index(sooner) < queue.index(later)
    assert "not seen by an operator yet" in queue
    still.patch_status(sooner, SUCCEEDED)
    board = reading.wait_for("the success", lambda text: sooner in section(text, "succeeded"))
    assert "c0de" in section(board, "succeeded")
    assert sooner not in section(board, "queue")
    still.delete(later)
    reading.wait_for("the deletion", lambda text: later not in text)
    still.kubectl("create", "configmap", "projectsetup-queue", "--from-literal=paused=true")
    reading.wait_for("the paused queue", "Paused: no new attempt starts.")
    assert failed in section(board, "failed")


def test_project_data_is_only_text(reading: Dashboard, failed: str) -> None:
    board = reading.wait_for("the failure", failed)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in section(board, "failed")
    assert "<script" not in board


def test_every_response_keeps_other_sites_out(reading: Dashboard) -> None:
    paths = ["/", "/board", "/static/htmx.min.js", "/static/live.js", "/static/dashboard.css", "/nowhere", "/?window=x"]
    for path in paths:
        answer = reading.get(path)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers
    assert [reading.get(path).status for path in paths] == [200, 200, 200, 200, 200, 404, 400]


def test_a_page_needs_nothing_that_the_policy_forbids(acting: Dashboard, failed: str) -> None:
    acting.wait_for("the failure", failed)
    page = acting.get().text
    assert not re.search(r"\son[a-z]+=|\sstyle=|<style|javascript:", page)
    assert [*re.findall(r"<script([^>]*)>(.*?)</script>", page)] == [
        (' src="/static/htmx.min.js" defer', ""),
        (' src="/static/live.js" defer', ""),
    ]


@pytest.mark.parametrize(
    "host", [None, "evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}"]
)
def test_other_host_names_are_refused(acting: Dashboard, host: str | None) -> None:
    for path in ("/", "/board", "/static/live.js", "/retry"):
        for method in ("GET", "POST"):
            answer = acting.request(method, path, Host=host and host.format(port=acting.port))
            assert answer.status in {400, 421}
            assert "ProjectSetup" not in answer.text


def test_localhost_is_this_machine(reading: Dashboard) -> None:
    assert reading.get(Host=f"localhost:{reading.port}").status == 200


def test_it_listens_at_the_loopback_address_alone(reading: Dashboard) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", reading.port), timeout=10)


@pytest.mark.parametrize(
    ("token", "headers"),
    [
        (True, {"Origin": None}),
        (True, {"Origin": "null"}),
        (True, {"Origin": "http://evil.example"}),
        (True, {"Origin": "http://127.0.0.1:1"}),
        (True, {"Origin": "https://127.0.0.1:{port}"}),
        (True, {"Sec_Fetch_Site": "cross-site"}),
        (True, {"Content_Type": "text/plain"}),
        (False, {}),
    ],
)
def test_forged_requests_are_refused(
    acting: Dashboard, still: ApiServer, failed: str, token: bool, headers: dict[str, str | None]
) -> None:
    acting.wait_for("the failure", failed)
    found = re.search(r'name="token" value="([^"]+)"', acting.get().text)
    assert found
    fields = {"token": found[1] if token else "guessed", "namespace": still.namespace, "name": failed}
    sent = {name: value and value.format(port=acting.port) for name, value in headers.items()}
    for path in ("/retry", "/cancel"):
        assert acting.post(path, fields, **sent).status == 403
    assert asked_for(still, failed) == set()


def test_reading_changes_nothing(acting: Dashboard, still: ApiServer, failed: str) -> None:
    place = f"namespace={still.namespace}&name={failed}"
    acting.wait_for("the failure", failed)
    assert acting.get(f"/retry?{place}").status == 405
    assert "Cancel this setup?" in acting.get(f"/cancel?{place}").text
    assert acting.get(f"/cancel?namespace={still.namespace}&name={uuid4()}").status == 404
    assert asked_for(still, failed) == set()


def test_actions_are_refused_unless_enabled(reading: Dashboard, still: ApiServer, failed: str) -> None:
    reading.wait_for("the failure", failed)
    page = reading.get().text
    assert 'method="post"' not in page
    assert re.findall("<button[^>]*>([^<]*)", page) == ["Search"]
    fields = {"token": "", "namespace": still.namespace, "name": failed}
    assert {reading.post(path, fields).status for path in ("/retry", "/cancel")} <= {403, 404}
    assert reading.get(f"/cancel?namespace={still.namespace}&name={failed}").status == 404
    assert asked_for(still, failed) == set()


def test_only_listed_setups_can_be_changed(acting: Dashboard, failed: str, kubeconfig: Path) -> None:
    acting.wait_for("the failure", failed)
    other = ApiServer.prepared(kubeconfig, "hidden")
    name = other.create()["metadata"]["name"]
    other.patch_status(name, FAILED)
    token = re.search(r'name="token" value="([^"]+)"', acting.get().text)
    assert token
    fields = {"token": token[1], "namespace": other.namespace, "name": name}
    assert acting.post("/retry", fields).status == 404
    assert asked_for(other, name) == set()


def test_cancel_and_retry_do_what_the_commands_do(
    sandbox: Sandbox, steps: Steps, kubeconfig: Path, tmp_path: Path
) -> None:
    place = sandbox.api.namespace
    setup = Setup.gated(sandbox, steps)
    with Dashboard(tmp_path, kubeconfig, "--namespace", "all", "--allow-actions") as dashboard:
        steps.await_start(setup)
        board = dashboard.wait_for("the running setup", lambda text: setup.name in section(text, "running"))
        assert f"{place}/" in section(board, "running")
        answer = dashboard.press("cancel", place, setup.name)
        assert (answer.status, answer.headers["location"]) == (303, "/")
        assert "cancel requested: the running attempt is being stopped" in dashboard.get().text
        setup.reached("Cancelled")
        dashboard.wait_for("the cancelled setup", lambda text: setup.name in section(text, "failed"))
        assert dashboard.press("retry", place, setup.name).status == 303
        assert "a new series of attempts starts" in dashboard.get().text
        steps.release()
        setup.reached("Succeeded")
        dashboard.wait_for("the success", lambda text: setup.name in section(text, "succeeded"))


def test_an_outage_is_reported_until_it_ends(still: ApiServer, failed: str, kubeconfig: Path, tmp_path: Path) -> None:
    with (
        proxied_api_server(kubeconfig, tmp_path) as (proxy, moved),
        Dashboard(tmp_path, moved, "-n", still.namespace) as dashboard,
    ):
        assert failed in dashboard.wait_for("the failure", failed)
        proxy.close()
        board = dashboard.wait_for("the outage", "The API server does not answer.")
        assert re.search(r"This page is [0-9]+[smh]", board)
        assert failed in board
        proxy.open()
        dashboard.wait_for("the end of the outage", lambda text: "does not answer" not in text)
        new = still.create()["metadata"]["name"]
        dashboard.wait_for("the new setup", new)
        still.delete(new)


def test_it_ends_when_interrupted(still: ApiServer, kubeconfig: Path, tmp_path: Path) -> None:
    with Dashboard(tmp_path, kubeconfig, "-n", still.namespace) as dashboard:
        assert dashboard.interrupt() == 0
        assert dashboard.output.count("\n") == 1


def test_a_port_in_use(reading: Dashboard, kubeconfig: Path) -> None:
    done = process("dashboard", "--port", str(reading.port), KUBECONFIG=str(kubeconfig))
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"error: cannot listen on port {reading.port}: Address already in use; use --port 0 for any free port\n"
    )


@pytest.mark.parametrize(
    "arguments", [["--host", "localhost"], ["--port", "70000"], ["--port", "x"], ["-A", "-n", "team-a"], ["-n", "A_B"]]
)
def test_invalid_options(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert CommandLine(capsys).refused(2, "dashboard", *arguments)


def test_an_unreachable_cluster(tmp_path: Path) -> None:
    done = process("dashboard", KUBECONFIG=write_kubeconfig(tmp_path / "config", "http://127.0.0.1:1"))
    assert (done.code, done.out) == (3, "")
    assert "Cannot connect to host 127.0.0.1" in done.err
    assert done.err.count("\n") == 1
