"""The dashboard's page of one setup, beside a real operator and its database, and the search for it."""

from __future__ import annotations

import html
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.api_server import ApiServer
from tests.support.dashboard_process import Answer, Dashboard, address, section
from tests.support.operator_sandbox import NO_BACKOFF, Sandbox
from tests.support.setup_handle import Setup

TWICE = {**NO_BACKOFF, "max_attempts": "2"}


@pytest.fixture(scope="module")
def dashboard(sandbox: Sandbox, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A dashboard that reads the database of the operator."""
    folder, options = tmp_path_factory.mktemp("dashboard"), ("-n", sandbox.api.namespace, "--allow-actions")
    with Dashboard(folder, kubeconfig, *options, DATABASE_URL=sandbox.database_url) as dashboard:
        yield dashboard


@pytest.fixture(scope="module")
def without_database(
    sandbox: Sandbox, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dashboard]:
    """A dashboard that reads the cluster only."""
    with Dashboard(tmp_path_factory.mktemp("cluster"), kubeconfig, "-n", sandbox.api.namespace) as dashboard:
        yield dashboard


def log(page: str) -> list[str]:
    """The entries of the log on a page, or in a part of it."""
    within = page[page.find('<div class="log"') :]
    entries = re.findall(
        r'<h[34] id="[^"]*">([^<]*)</h|</time></a><span>([^<]*)</span></div>|"left-out">([^<]*)<', within
    )
    return [html.unescape("".join(entry)) for entry in entries]


def following(page: str) -> str | None:
    """The address of what follows in the log."""
    found = re.search(r'hx-get="(/setups/[^"]+/log\?[^"]*)"', page)
    return found and html.unescape(found[1])


def shows_history_and_events(page: str) -> bool:
    """Whether a page shows the attempts and events of a setup that has failed twice; its status comes first."""
    events = {*re.findall(r">(\w+)</td>", section(page, "events"))}
    return page.count("StepTransient") > 1 and {"RetryScheduled", "Failed"} <= events


def test_the_page_of_a_failed_setup(sandbox: Sandbox, dashboard: Dashboard) -> None:
    script = 'echo "attempt $ATTEMPT <b>&amp;</b>"; echo oops; exit 42'
    setup = Setup.make(
        sandbox, "scripts", first="sleep 0.2; seq 2", second=script, third="<i>never</i>", annotations=TWICE
    )
    setup.ended()
    board = dashboard.wait_for("the failure", lambda text: setup.name in section(text, "failed"))
    assert f'href="{address(setup)}"' in board
    page = dashboard.wait_for("history and events", shows_history_and_events, address(setup)).strip()
    assert log(page) == ["Attempt 2", "first", "1", "2", "second", "attempt 2 <b>&amp;</b>", "oops"]
    assert "End of the log." in page
    assert following(page) is None
    steps = section(page, "steps")
    assert re.findall(r'<rect class="(\w+)"', steps) == ["done", "failed"]
    assert "of attempt 2, failed" in steps
    assert max(map(float, re.findall(r">([\d.]+)s<", steps))) >= 0.2, "the first step took 0.2 s"
    attempts = re.findall(rf'href="{address(setup)}\?attempt=([^"]+)"', section(page, "attempts"))
    assert len(attempts) == 2
    assert "exit code 42" in section(page, "state")
    assert "AttemptsExhausted" in section(page, "conditions")
    assert "&lt;i&gt;never&lt;/i&gt;" in section(page, "spec")
    assert not re.search(r"<(b|i)>", page)

    first = dashboard.get(f"{address(setup)}?attempt={attempts[1]}").text
    assert log(first)[0] == "Attempt 1"
    assert "attempt 1 <b>&amp;</b>" in log(first)
    text = dashboard.get(f"{address(setup)}/log.txt?attempt={attempts[1]}")
    assert (text.headers["content-type"], text.headers["cache-control"]) == ("text/plain; charset=utf-8", "no-store")
    lines = [re.sub(r"^\S{19}Z ", "", line) for line in text.text.splitlines()]
    assert lines == ["── first", "1", "2", "── second", "attempt 1 <b>&amp;</b>", "oops"]


def test_the_log_of_a_running_setup_grows_until_its_end(sandbox: Sandbox, dashboard: Dashboard, tmp_path: Path) -> None:
    script = 'echo waiting; until [ -e "$PARAM_PLACE/$ATTEMPT" ]; do sleep 0.05; done; echo "done $ATTEMPT"; exit 42'
    setup = Setup.make(sandbox, "scripts", first="seq 3", second=script, place=str(tmp_path), annotations=TWICE)
    page = dashboard.wait_for("the log", lambda text: "waiting" in log(text), address(setup))
    assert log(page) == ["Attempt 1", "first", "1", "2", "3", "second", "waiting"]
    assert re.findall(r'<rect class="(\w+)"', section(page, "steps")) == ["done", "running"]
    more = following(page)
    assert more is not None
    nothing = dashboard.get(more)
    assert (nothing.status, nothing.text) == (204, "")
    (tmp_path / "1").touch()
    shown: list[str] = []
    while "waiting" not in shown:
        part = dashboard.wait_for("more of the log", lambda text: text, more)
        shown += log('<div class="log"' + part)
        more = following(part)
        assert more is not None
    assert shown == ["done 1", "Attempt 2", "first", "1", "2", "3", "second", "waiting"]
    (tmp_path / "2").touch()
    setup.ended()
    rest: list[str] = []
    while more is not None:
        part = dashboard.wait_for("the end of the log", lambda text: text, more)
        rest += log('<div class="log"' + part)
        more = following(part)
    assert rest == ["done 2"]


def test_a_long_log_shows_its_end_and_what_is_missing(sandbox: Sandbox, dashboard: Dashboard) -> None:
    setup = Setup.make(sandbox, "scripts", first="seq -f 'line %06.0f' 1 200000")
    setup.ended()
    page = dashboard.wait_for("the log", "line 200000", address(setup))
    assert len(re.findall('<div class="line"', page)) == 2000
    assert re.search(r"[\d,]+ earlier lines are not shown here", page)
    run = re.search(r'/log\.txt\?attempt=([^"]+)"', page)
    assert run
    text = dashboard.get(f"{address(setup)}/log.txt?attempt={run[1]}").text
    assert text.count("line ") > 2000
    assert re.search(r"^… [\d,]+ lines left out …$", text, re.MULTILINE)


def test_without_a_database_the_page_says_where_logs_are(sandbox: Sandbox, without_database: Dashboard) -> None:
    setup = Setup.make(sandbox, "scripts", first="echo printed; exit 1")
    setup.ended()
    page = without_database.wait_for("the failure", lambda text: "StepFailed" in section(text, "state"), address(setup))
    assert "To see the logs that the operator keeps, start the dashboard with <code>DATABASE_URL</code> set." in page
    assert "It failed in step first." in section(page, "steps")
    assert "step first failed" in section(page, "attempts")
    assert log(page) == []


def test_a_database_that_is_away(sandbox: Sandbox, kubeconfig: Path, tmp_path: Path) -> None:
    setup = Setup.make(sandbox, "scripts", first="exit 1")
    setup.ended()
    away = "postgresql://operator@127.0.0.1:1/projects"
    with Dashboard(tmp_path, kubeconfig, "-n", sandbox.api.namespace, DATABASE_URL=away) as dashboard:
        page = dashboard.wait_for("the failure", "step first failed", address(setup))
    assert "Not everything can be shown: " in page
    assert "step first failed" in section(page, "attempts")


def test_what_is_not_there(sandbox: Sandbox, dashboard: Dashboard, other_namespace: ApiServer) -> None:
    setup = Setup.make(sandbox, "scripts", first="echo 1", second="exit 1")
    elsewhere = Setup.make(sandbox, "instant", api=other_namespace)
    page = dashboard.wait_for("the log", lambda text: "End of the log" in text, address(setup))
    run = re.search(r'/log\.txt\?attempt=([^"]+)"', page)
    assert run

    def answer(path: str) -> Answer:
        return dashboard.get(path)

    nowhere = [address(elsewhere), f"/setups/{setup.api.namespace}/{uuid.uuid4()}", "/setups/a/b", "/setups/a"]
    for path in nowhere:
        for part in ("", "/overview", "/log", "/log.txt"):
            assert answer(path + part).status == 404
    for query in ("?attempt=other", "/overview?attempt=", "/log.txt?attempt=other", "/log.txt"):
        assert answer(address(setup) + query).status == 404
    assert answer(f"{address(setup)}/log?attempt={run[1]}&after=x").status == 400
    assert dashboard.get(address(setup), Host="evil.example").status == 421
    assert dashboard.post(address(setup), {}).status in {403, 405}


def test_projects_of_other_namespaces_reveal_nothing(
    sandbox: Sandbox, other_namespace: ApiServer, kubeconfig: Path, tmp_path: Path
) -> None:
    owner = Setup.make(sandbox, "scripts", first="echo confidential; exit 1")
    owner.ended()
    other = Setup.make(sandbox, "instant", project=owner.name, api=other_namespace)
    assert other.ended()[0] == "ProjectClaimed"
    options = ("-n", other_namespace.namespace)
    with Dashboard(tmp_path, kubeconfig, *options, DATABASE_URL=sandbox.database_url) as dashboard:
        page = dashboard.wait_for("the refusal", "ProjectClaimed", address(other))
        assert "No attempt has started yet." in section(page, "attempts")
        with psycopg.connect(sandbox.database_url) as connection:
            query = "SELECT run_name FROM setup_logs WHERE project_id = %s"
            ((run,),) = connection.execute(query, (owner.name,)).fetchall()
        assert "confidential" not in page
        assert dashboard.get(f"{address(other)}/log.txt?attempt={run}").status == 404
        assert dashboard.get(f"{address(other)}?attempt={run}").status == 404
        assert "confidential" not in dashboard.get(f"{address(other)}/log?attempt={run}").text


def test_buttons_lead_back_to_the_page(sandbox: Sandbox, dashboard: Dashboard, tmp_path: Path) -> None:
    wait = f"until [ -e {tmp_path}/go ]; do sleep 0.05; done"
    setup = Setup.make(sandbox, "scripts", first=wait)
    page = dashboard.wait_for("the button", "Cancel…", address(setup))
    question = dashboard.get(f"/cancel?namespace={setup.api.namespace}&name={setup.name}&page=1").text
    assert f'<a href="{address(setup)}">Keep it</a>' in question
    token = re.search(r'name="token" value="([^"]+)"', page + question)
    assert token
    fields = {"token": token[1], "namespace": setup.api.namespace, "name": setup.name, "page": "1"}
    answer = dashboard.post("/cancel", fields)
    assert (answer.status, answer.headers["location"]) == (303, address(setup))
    assert "cancel requested" in dashboard.get(address(setup)).text
    setup.reached("Cancelled")


def test_search(sandbox: Sandbox, dashboard: Dashboard) -> None:
    name = f"Shop-{uuid.uuid4().hex[:8]}"
    found = Setup.make(sandbox, "instant", project=sandbox.project(name=name))
    other = Setup.make(sandbox, "instant")
    found.ended()
    other.ended()
    dashboard.wait_for("both", lambda text: name in text and other.name in text)
    for search in (name.lower()[:-1], found.name[:13], found.name.upper()):
        page = dashboard.get(f"/?q={search}").text
        assert "1 ProjectSetup matches" in page
        assert name in section(page, "succeeded")
        assert other.name not in page
        assert f'value="{search}"' in page
    nothing = dashboard.get("/board?q=%3Cb%3E&window=1h").text
    assert "0 ProjectSetups match “&lt;b&gt;”." in nothing
    assert "/?window=7d&amp;q=%3Cb%3E" in nothing
