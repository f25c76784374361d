"""`python -m tests.support.dashboard_screens` makes the pictures of docs/dashboard.md from real runs.

An operator sets up projects of which some fail, are retried, wait or still run; a browser shows the dashboard of them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from devcluster import Cluster
from projectsetup.projects.migrate import migrate
from tests.support.chromium import Chromium
from tests.support.dashboard_process import Dashboard
from tests.support.manifests import ROOT
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import Sandbox
from tests.support.setup_handle import Setup

DOCS: Final = ROOT / "docs"
WIDTH: Final = 1040

_DONE: Final = ("mail", "maps", "photos", "wiki", "tickets", "payroll", "forum", "status")
_STEPS: Final = (
    ("generate", "initializing", 'seq -f "created app/module_%g.py" 1 6'),
    ("install", "deps_installing", 'seq -f "installed package %g of 8" 1 8; sleep 1.2'),
    ("auth", "setting_up_auth", 'echo "wrote app/auth.py"; sleep 0.3'),
    ("compile", "compiling", 'echo "compiled 31 modules"; sleep 0.6'),
    ("test", "testing", 'echo "42 tests passed"; sleep 0.9; while [ "$PARAM_TESTS" = slow ]; do sleep 1; done'),
    ("push", "committing", 'echo "pushing to git.example"; [ "$PARAM_BRANCH" != main ] || eval "$FAIL"'),
)
_FAIL: Final = (
    "echo 'remote: error: GH006: protected branch update failed' >&2; "
    "echo 'error: failed to push some refs to https://git.example/team-a/search.git' >&2; exit 75"
)


def main() -> int:
    """Make the pictures."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        cluster = Cluster(folder / "cluster")
        cluster.up()
        try:
            _make(cluster, folder)
        finally:
            cluster.down()
    return 0


def _make(cluster: Cluster, folder: Path) -> None:
    migrate(cluster.database_url)
    recipes = folder / "recipes"
    recipes.mkdir()
    (recipes / "web.yaml").write_text(_recipe())
    sandbox = Sandbox(
        folder / "operator",
        kubeconfig=cluster.kubeconfig,
        database_url=cluster.database_url,
        concurrency="4",
        recipes_dir=str(recipes),
    )
    sandbox.api.kubectl("create", "configmap", "projectsetup-queue")
    sandbox.operator.start()
    try:
        failed = _set_up(sandbox)
        options = ("-n", sandbox.api.namespace, "--operator-namespace", sandbox.api.namespace, "--allow-actions")
        with (
            Dashboard(folder, cluster.kubeconfig, *options, DATABASE_URL=cluster.database_url) as dashboard,
            Chromium(folder, "--hide-scrollbars") as browser,
        ):
            _take_pictures(dashboard, browser, failed)
    finally:
        sandbox.operator.close()


def _set_up(sandbox: Sandbox) -> Setup:
    """Returns a setup that has failed."""
    done = [_setup(sandbox, name, branch="main" if name == "mail" else "setup") for name in _DONE]
    failed = _setup(sandbox, "search", branch="main")
    for setup in (*done, failed):
        setup.ended()
    backing_off = _setup(sandbox, "mail-archive", branch="main", backoff="10m")
    backing_off.reached("BackingOff")
    for name in ("shop", "billing", "shop-admin", "catalogue"):
        running = _setup(sandbox, name, tests="slow")
        running.wait_for("in step test", lambda status: status.get("step") == "test")
    for number, name in enumerate(("newsletter", "reports", "intranet")):
        _setup(sandbox, name, priority=str(number)).reached("Queued")
    return failed


def _setup(sandbox: Sandbox, name: str, *, branch: str = "setup", tests: str = "all", **annotations: str) -> Setup:
    project = sandbox.project(name=name, code_repo=f"https://git.example/team-a/{name}.git")
    return Setup.make(
        sandbox,
        "web",
        project=project,
        parameters={"branch": branch, "tests": tests},
        annotations={"backoff": "1s", "max_attempts": "2", **annotations},
    )


def _recipe() -> str:
    steps = "".join(
        f"- name: {name}\n  status: {status}\n  retry: {{exitCodes: [75]}}\n  run: |\n    FAIL={_FAIL!r}\n    {run}\n"
        for name, status, run in _STEPS
    )
    parameters = "parameters: {branch: {default: setup}, tests: {default: all}}"
    return f"name: web\ndescription: for the pictures\nimage: busybox\n{parameters}\nsteps:\n{steps}"


def _take_pictures(dashboard: Dashboard, browser: Chromium, failed: Setup) -> None:
    page = f"{dashboard.url}setups/{failed.api.namespace}/{failed.name}"
    wait_for(lambda: failed.name in dashboard.get("/board").text, "the dashboard to show all setups")
    for name, address, dark in (("light", dashboard.url, False), ("dark", dashboard.url, True), ("setup", page, False)):
        browser.emulate(width=WIDTH, dark=dark)
        browser.open(address)
        file = DOCS / f"dashboard-{name}.png"
        browser.take_picture(file)
        print(file)


if __name__ == "__main__":
    sys.exit(main())
