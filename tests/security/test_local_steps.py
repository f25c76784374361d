"""Attacker: code of a project of namespace team-b that runs in a step of the local engine, as the operator's user.

It may run any program, read and write whatever that user may, and look at /proc. The victims are the operator, the
processes beside it, attempts that run at the same time, and later setups of namespace team-a on the same operator.
"""

from __future__ import annotations

import os
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from projectsetup.engines.local.supervisor import landlock
from tests.support.api_server import ApiServer
from tests.support.operator_sandbox import NewSandbox, Sandbox, message
from tests.support.processes import children
from tests.support.setup_handle import Setup, Steps

ATTACK: Final = Path(__file__).parents[1] / "support" / "attacks" / "process_attack.py"
SECRET: Final = "postgresql://owner:bXlzZWNyZXQ@database/projects"
INSTALL: Final = """\
uv venv --quiet venv
uv pip install --quiet --python venv --no-index --find-links "$PARAM_PLACE" --link-mode hardlink greeting
"""

pytestmark = pytest.mark.skipif(not landlock.abi(), reason="this kernel has no Landlock")


@pytest.fixture(scope="module")
def team_a(kubeconfig: Path) -> ApiServer:
    return ApiServer.prepared(kubeconfig, "team-a")


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(scope="module")
def sandbox(new_sandbox: NewSandbox, team_a: ApiServer, caches: Path) -> Iterator[Sandbox]:
    """An operator that serves both teams; the sandbox's own namespace is that of team-b."""
    with new_sandbox(environment={"XDG_CACHE_HOME": str(caches), "UV_CACHE_DIR": ""}) as sandbox:
        sandbox.operator.configure(confine_steps="true", namespaces=f"{sandbox.api.namespace},{team_a.namespace}")
        sandbox.operator.start()
        yield sandbox


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder outside all workspaces that steps may write to."""
    place = tmp_path / "place"
    place.mkdir()
    return place


@pytest.fixture
def victim(sandbox: Sandbox, team_a: ApiServer, tmp_path: Path) -> Iterator[set[int]]:
    """The operator, its supervisor and wardens, a running step of team-a, and a process that holds the URL."""
    steps = Steps(tmp_path / "steps")
    setup = Setup.gated(sandbox, steps, api=team_a)
    steps.await_start(setup)
    with subprocess.Popen(["sleep", "600"], env={"DATABASE_URL": SECRET, "PATH": os.environ["PATH"]}) as holder:
        pids = {sandbox.operator.pid, holder.pid}
        for _ in range(3):
            pids |= {child for pid in pids for child in children(pid)}
        yield pids
        holder.kill()
    steps.release()
    assert setup.ended()[1]["phase"] == "Succeeded"


def run(sandbox: Sandbox, script: str, place: Path, *, api: ApiServer | None = None) -> None:
    """Run the script in a step, which must succeed."""
    setup = Setup.make(sandbox, "scripts", api=api, first=script, place=str(place))
    _, status = setup.ended(limit=60.0)
    assert status["phase"] == "Succeeded", message(status)


def test_a_step_cannot_attack_processes_outside_itself(sandbox: Sandbox, victim: set[int], place: Path) -> None:
    report = place / "report"
    arguments = f"{SECRET[::-1]} {report} {' '.join(map(str, victim))}"
    run(sandbox, f"python {ATTACK} {arguments}", place)
    won = report.read_text().splitlines()
    assert won.pop(0) == f"attacked {len(victim)}"
    assert len(victim) >= 5
    harmless = {"kill"} if landlock.abi() < 6 else set()
    assert not [line for line in won if line.split()[1] not in harmless]


@pytest.mark.usefixtures("victim")
def test_other_attempts_cannot_be_read_or_written(sandbox: Sandbox, place: Path) -> None:
    attempts = [path for path in sandbox.operator.workspaces.glob("projectsetup-*/*") if path.is_dir()]
    (workspace,) = [path / "workspace" for path in attempts]
    (workspace / "code.py").write_text("true")
    private = workspace.parent / "private"
    private.mkdir()
    (private / "key").write_text("KEY")
    attack = f"""
    cd "$PARAM_PLACE"
    cat {workspace}/code.py {private}/key > read || true
    ls {workspace} {private} {sandbox.operator.workspaces} > listed || true
    ln {private}/key linked || true
    echo false > {workspace}/code.py || true
    touch {workspace}/new {sandbox.operator.workspaces}/new || true
    rm -f {workspace}/code.py || true
    mv {workspace} . || true
    """
    run(sandbox, attack, place)
    assert sorted(path.name for path in place.iterdir()) == ["listed", "read"]
    assert (place / "read").read_text() == (place / "listed").read_text() == ""
    assert (workspace / "code.py").read_text() == "true"
    assert not (workspace / "new").exists()
    assert not (sandbox.operator.workspaces / "new").exists()


def test_the_operators_kubeconfig_cannot_be_read(sandbox: Sandbox, kubeconfig: Path, place: Path) -> None:
    run(sandbox, f'cat {kubeconfig} > "$PARAM_PLACE/read" || true', place)
    assert (place / "read").read_text() == ""


def wheel(place: Path) -> None:
    """Write a package to install."""
    with zipfile.ZipFile(place / "greeting-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("greeting.py", "print('true')\n")
        about = "greeting-1.0.dist-info"
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "greeting.py,,\n")


def test_one_team_cannot_poison_what_the_other_installs(
    sandbox: Sandbox, team_a: ApiServer, caches: Path, place: Path
) -> None:
    wheel(place)
    run(sandbox, INSTALL, place, api=team_a)
    poison = f"""
    {INSTALL}
    for file in $(find {caches} "$UV_CACHE_DIR" venv -name greeting.py); do
        echo "print('evil')" > "$file" || true
    done
    venv/bin/python -c 'import greeting' > "$PARAM_PLACE/attacker"
    """
    run(sandbox, poison, place)
    run(sandbox, INSTALL + """venv/bin/python -c 'import greeting' > "$PARAM_PLACE/victim" """, place, api=team_a)
    assert (place / "attacker").read_text() == "evil\n", "the attack itself must work"
    assert (place / "victim").read_text() == "true\n"


@pytest.mark.parametrize("variable", ["UV_CACHE_DIR", "PIP_CACHE_DIR", "npm_config_cache", "GOMODCACHE", "GOCACHE"])
def test_each_team_has_its_own_cache_for_each_tool(
    sandbox: Sandbox, team_a: ApiServer, place: Path, variable: str
) -> None:
    run(sandbox, f'echo "${variable}" > "$PARAM_PLACE/a"; echo mine > "${variable}/file"', place, api=team_a)
    theirs = (place / "a").read_text().strip()
    attack = f"""
    echo "${variable}" > "$PARAM_PLACE/b"
    test "$(cat "{theirs}/file" 2>&-)" != mine
    ! echo evil > "{theirs}/file"
    ! ls "{theirs}"
    ! mkdir "$(dirname "{theirs}")/new"
    """
    run(sandbox, attack, place)
    assert (place / "b").read_text().strip() != theirs
    assert Path(theirs, "file").read_text() == "mine\n"
