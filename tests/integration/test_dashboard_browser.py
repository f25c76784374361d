"""The dashboard as a person sees it: in a real browser, beside a real operator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chromium import Chromium, chromium_obstacle
from tests.support.dashboard_process import Dashboard, address
from tests.support.operator_sandbox import Sandbox
from tests.support.setup_handle import Setup

OBSTACLE = chromium_obstacle()
pytestmark = pytest.mark.skipif(OBSTACLE is not None, reason=str(OBSTACLE))

ROW = "return document.getElementById(`row-${arguments[0]}-${arguments[1]}`)?.innerText.includes(arguments[2])"
HEADING = """\
const row = document.getElementById(`row-${arguments[0]}-${arguments[1]}`);
return row?.closest('section').querySelector('h2').innerText.startsWith(arguments[2]);
"""
TEXT = "return document.body.innerText.includes(arguments[0])"
ONE_ROW = """\
const rows = [...document.querySelectorAll('tr[id^=row-]')];
return rows.length === 1 && rows[0].id === `row-${arguments[0]}-${arguments[1]}`;
"""
LAST_LINE = "return [...document.querySelectorAll('.line span')].at(-1)?.innerText === arguments[0]"
AT_END = "const log = document.getElementById('log'); return log.scrollHeight - log.scrollTop - log.clientHeight < 8"
GONE = "return document.getElementById('gone').checkVisibility()"
MARKED = "return window.mark === 'not loaded again'"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A browser for all tests."""
    with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def dashboard(sandbox: Sandbox, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A dashboard with buttons that reads the database."""
    folder = tmp_path_factory.mktemp("dashboard")
    options = ("-n", sandbox.api.namespace, "--operator-namespace", sandbox.api.namespace, "--allow-actions")
    with Dashboard(folder, kubeconfig, *options, DATABASE_URL=sandbox.database_url) as dashboard:
        yield dashboard


def waiting(file: Path) -> str:
    """A step that waits for a file."""
    return f"until [ -e {file} ]; do sleep 0.05; done"


def test_progress_is_shown_without_reloading_the_page(
    sandbox: Sandbox, dashboard: Dashboard, browser: Chromium, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    setup = Setup.make(sandbox, "scripts", first=waiting(first), second=waiting(second))
    place = sandbox.api.namespace, setup.name
    browser.open(dashboard.url)
    browser.run("window.mark = 'not loaded again'")
    browser.wait_for("the first step", ROW, *place, "0/3")
    browser.run("document.querySelector('nav a').focus()")
    first.touch()
    browser.wait_for("the second step", ROW, *place, "1/3")
    second.touch()
    browser.wait_for("the success", HEADING, *place, "Succeeded")
    assert browser.run(MARKED), "the page was loaded again"
    assert browser.run("return document.activeElement === document.querySelector('nav a')"), "the focus was lost"
    assert browser.console_messages() == []


def test_buttons_cancel_and_retry(sandbox: Sandbox, dashboard: Dashboard, browser: Chromium, tmp_path: Path) -> None:
    go = tmp_path / "go"
    setup = Setup.make(sandbox, "scripts", first=waiting(go))
    place = sandbox.api.namespace, setup.name
    browser.open(dashboard.url)
    browser.wait_for("the running setup", ROW, *place, "0/3")
    browser.click(f"#cancel-{place[0]}-{place[1]}")
    browser.wait_for("the question", TEXT, "Cancel this setup?")
    browser.click("button.danger")
    browser.wait_for("the result", TEXT, "is being stopped")
    browser.wait_for("the cancelled setup", HEADING, *place, "Failed and cancelled")
    browser.click(f"#retry-{place[0]}-{place[1]}")
    browser.wait_for("the result", TEXT, "a new series")
    go.touch()
    browser.wait_for("the success", HEADING, *place, "Succeeded")
    assert setup.reached("Succeeded")["attempt"] == 1
    assert browser.console_messages() == []


def test_searching_filters_as_one_types(sandbox: Sandbox, dashboard: Dashboard, browser: Chromium) -> None:
    first, second = (Setup.make(sandbox) for _ in range(2))
    for setup in (first, second):
        setup.ended()
    browser.open(dashboard.url)
    for setup in (first, second):
        browser.wait_for("both setups", TEXT, setup.name)
    browser.type_text("#search", first.name[:18])
    browser.wait_for("the one that was searched for", ONE_ROW, sandbox.api.namespace, first.name)
    assert browser.run("return document.activeElement.id") == "search"
    browser.type_text("#search", "\ue007")
    browser.wait_for("its address", "return location.search.includes(arguments[0])", first.name[:18])
    browser.wait_for("the one that was searched for", ONE_ROW, sandbox.api.namespace, first.name)
    browser.click(f"#row-{sandbox.api.namespace}-{first.name} a")
    browser.wait_for("its page", "return location.pathname.endsWith(arguments[0])", first.name)
    assert browser.console_messages() == []


def test_the_log_grows_and_nothing_moves(
    sandbox: Sandbox, dashboard: Dashboard, browser: Chromium, tmp_path: Path
) -> None:
    script = f"seq 200; {waiting(tmp_path / 'go')}; seq 201 400; {waiting(tmp_path / 'on')}; echo the end"
    setup = Setup.make(sandbox, "scripts", first=script)
    dashboard.wait_for("the setup", 'id="overview"', address(setup))
    browser.open(dashboard.origin + address(setup))
    browser.run("window.mark = 'not loaded again'")
    browser.wait_for("the first lines", LAST_LINE, "200")
    assert browser.run(AT_END), "a new log shows its end"
    (tmp_path / "go").touch()
    browser.wait_for("the next lines", LAST_LINE, "400")
    browser.wait_for("the end of the log", AT_END)
    browser.run("const log = document.getElementById('log'); log.focus(); log.scrollTop = 500")
    (tmp_path / "on").touch()
    browser.wait_for("the last line", LAST_LINE, "the end")
    browser.wait_for("the end of the setup", "return document.getElementById('state').innerText === 'Succeeded'")
    assert browser.run("return document.getElementById('log').scrollTop") == 500
    assert browser.run("return document.activeElement.id") == "log"
    assert browser.run("return document.querySelectorAll('.line').length") == 401
    browser.wait_for("that nothing follows", TEXT, "End of the log.")
    browser.run("document.querySelectorAll('.line a')[7].click()")
    browser.wait_for("the line of the address", "return document.querySelector(':target span')?.innerText === '8'")
    assert browser.run(MARKED), "the page was loaded again"
    assert browser.console_messages() == []


def test_without_javascript_the_page_is_complete(sandbox: Sandbox, dashboard: Dashboard, browser: Chromium) -> None:
    setup = Setup.make(sandbox, "scripts", first="echo printed; exit 1")
    setup.ended()
    dashboard.wait_for("the end", "End of the log.", address(setup))
    browser.emulate(scripts=False)
    try:
        browser.open(dashboard.origin + address(setup))
        text = browser.text
    finally:
        browser.emulate()
    for words in ("Reload", "StepFailed", "Attempt 1", "printed", "End of the log."):
        assert words in text


def test_the_page_says_when_the_dashboard_has_ended(
    sandbox: Sandbox, kubeconfig: Path, browser: Chromium, tmp_path: Path
) -> None:
    with Dashboard(tmp_path, kubeconfig, "-n", sandbox.api.namespace) as dashboard:
        browser.open(dashboard.url)
        assert not browser.run(GONE)
    browser.wait_for("the end of the dashboard", GONE)
    browser.open("about:blank")
    browser.console_messages()
