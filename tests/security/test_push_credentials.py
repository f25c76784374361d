"""The attacker is code that a setup runs without anybody having read it: a package, a template, a test of the project.

It runs in a step between `commit` and `push`, and in another after `push`. With either engine it may write whatever the
user of the steps may write, workspace, HOME and TMPDIR among it, and it has a git host of its own. It wants the
password with which `push` logs in, or the commits pushed somewhere else. It must get neither: the push succeeds as if
there were no attack, or the setup fails at once with a message that names the cause.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest
import yaml

from devcluster import Cluster
from images import TOOLCHAIN, build, images_obstacle
from projectsetup.engines.local.engine import LocalEngine
from projectsetup.recipes.loader import RecipeBook
from projectsetup.recipes.model import Recipe
from projectsetup.setup.credentials import GitCredentials, HttpsLogin
from projectsetup.setup.steps import setup_project
from projectsetup.setup.types import SetupFailed, SetupProject
from tests.support.attacks.attackers_host import AttackersHost, attackers_host
from tests.support.attacks.push_attacks import AFTER, ATTACKS
from tests.support.git_host import GitHost, git_host
from tests.support.node.sandboxes import node_sandbox
from tests.support.operator_sandbox import message
from tests.support.setup_handle import Setup

USERNAME, PASSWORD = "robot", "the-password-of-the-robot"
NAMES: Final = ("code", "docs")
OF_THE_PLACE: Final = (
    *("none", "settings of the user", "settings of the user in their other place", "addresses rewritten by the user"),
    *("a repository around them", "programs of that name", "modules of that name", "hooks"),
    *("files of the home and the temporary folder", "homes that lead elsewhere", "things beside the workspace"),
    "a .git that is a link",
)
"""What depends on where a step runs is tried with both engines, and the others, which the same program meets, once."""
CASES: Final = [*(("local", title) for title in ATTACKS), *(("job", title) for title in OF_THE_PLACE)]
PUSH: Final = RecipeBook().get("python-service").steps[-1]
LIMIT: Final = 300.0
COMMIT: Final = """
for name in code docs; do
  git init -q --template= -b main $name
  echo "$PROJECT_ID" >$name/README.md
  git -C $name add README.md
  git -C $name -c user.name=a -c user.email=a@example.test commit -qm "Set up $PROJECT_ID"
done
"""
RECIPE: Final = {
    "name": "victim",
    "image": TOOLCHAIN,
    "parameters": {"license": {"default": "MIT"}, "branch": {"default": "main"}, "attack": {}, "attacker": {}},
    "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "512Mi"}},
    "steps": [
        {"name": "commit", "status": "initializing", "run": COMMIT},
        {"name": "attack", "status": "testing", "run": 'eval "$PARAM_ATTACK"'},
        {
            "name": "push",
            "status": "committing",
            "run": PUSH.run,
            "credentials": True,
            "env": {"GIT_SSL_NO_VERIFY": "true"},
        },
        {"name": "after", "status": "committing", "run": AFTER},
    ],
}


@dataclass(frozen=True, slots=True)
class End:
    """How one attacked setup ended: the step that failed, or the reported commits."""

    project: str
    message: str = ""
    failed_at: str | None = None
    commits: tuple[str | None, str | None] = (None, None)


@dataclass(frozen=True, slots=True)
class Aftermath:
    """The end of each attack, and everything that was published meanwhile."""

    ends: Mapping[str, End]
    host: GitHost
    attacker: AttackersHost
    shown: Mapping[str, str]

    def pushed(self, title: str) -> list[str | None]:
        """The subjects of the commits at the tips of the repositories of the project."""
        return [subject(self.host.folder / repository(title, name)) for name in NAMES]

    def captured(self, title: str) -> list[str | None]:
        """The same of the repositories that the attacker had ready."""
        return [subject(self.attacker.git.folder / repository(title, name)) for name in NAMES]


def repository(title: str, name: str) -> str:
    return f"{title.replace(' ', '-').replace('.', '')}-{name}.git"


def subject(folder: Path) -> str | None:
    command = ["git", "-C", str(folder), "log", "-1", "--format=%s", "main", "--"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


@contextmanager
def hosts(folder: Path, address: str) -> Iterator[tuple[GitHost, AttackersHost]]:
    """The host of the projects, and that of the attacker."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, and a git host needs a certificate")
    with ExitStack() as stack:
        (folder / "host").mkdir()
        (folder / "attacker").mkdir()
        host = git_host(folder / "host", username=USERNAME, password=PASSWORD, host=address)
        yield stack.enter_context(host), stack.enter_context(attackers_host(folder / "attacker", host=address))


def repositories(title: str, host: GitHost, attacker: AttackersHost) -> list[str]:
    """Those of a project; the attacker has some of the same names."""
    for name in NAMES:
        attacker.git.repository(repository(title, name))
    return [host.repository(repository(title, name)) for name in NAMES]


async def set_up(engine: LocalEngine, title: str, urls: list[str], attacker: AttackersHost, shown: list[str]) -> End:
    project = SetupProject(uuid4(), "Orders", "orders", "", *urls)
    async with engine.open(project.id, 1) as runner:
        outcome = await setup_project(
            project,
            Recipe.model_validate(RECIPE),
            lambda _: None,
            runner=runner,
            attempt=1,
            parameters={"license": "MIT", "branch": "main", "attack": ATTACKS[title].whole, "attacker": attacker.url},
            time_limit=LIMIT,
            operator_environment={"PATH": f"bin::{os.environ['PATH']}:."},
            credentials=GitCredentials(HttpsLogin(USERNAME, PASSWORD)),
            on_line=lambda _, line: shown.append(line),
        )
    if isinstance(outcome, SetupFailed):
        return End(str(project.id), outcome.message, outcome.step)
    return End(str(project.id), commits=(outcome.code_commit, outcome.docs_commit))


@pytest.fixture(scope="module")
async def local(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Aftermath]:
    """By the local engine, with a PATH that leads into the directory that steps begin in."""
    folder = tmp_path_factory.mktemp("local")
    (folder / "root").mkdir()
    shown: list[str] = []
    with hosts(folder, "localhost") as (host, attacker):
        engine = LocalEngine(folder / "root")
        await engine.start()
        try:
            urls = {title: repositories(title, host, attacker) for title in ATTACKS}
            ends = await asyncio.gather(*(set_up(engine, title, urls[title], attacker, shown) for title in ATTACKS))
        finally:
            await engine.close()
        yield Aftermath(dict(zip(ATTACKS, ends, strict=True)), host, attacker, {"output": "\n".join(shown)})


def end_of(setup: Setup) -> End:
    why, status = setup.ended(limit=LIMIT)
    if why == "SetupSucceeded":
        return End(setup.name, commits=(status["commits"]["codeRepo"], status["commits"]["docsRepo"]))
    assert (why, status["failure"]["retryable"]) == ("StepFailed", False), status
    return End(setup.name, message(status), status["failure"]["step"])


@pytest.fixture(scope="module")
def job(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    """By an operator with the Job engine, on a real node."""
    if obstacle := images_obstacle((TOOLCHAIN,)):
        pytest.skip(obstacle)
    node_cluster.load_image(build((TOOLCHAIN,))[TOOLCHAIN])
    folder, gateway = tmp_path_factory.mktemp("job"), node_cluster.gateway
    recipe = yaml.safe_dump(RECIPE, sort_keys=False)
    settings = {"concurrency": "8", "git_hosts": gateway}
    with (
        hosts(folder, gateway) as (host, attacker),
        node_sandbox(node_cluster, folder / "sandbox", recipe, **settings) as sandbox,
    ):
        sandbox.operator.start()
        spec = {"credentialsSecretRef": sandbox.secret(username=USERNAME, password=PASSWORD)}
        setups = {}
        for title in OF_THE_PLACE:
            code, docs = repositories(title, host, attacker)
            setups[title] = Setup.make(
                sandbox,
                "victim",
                project=sandbox.project(code_repo=code, docs_repo=docs),
                annotations={"max_attempts": "1"},
                spec=spec,
                attack=ATTACKS[title].whole,
                attacker=attacker.url,
            )
        ends = {title: end_of(setup) for title, setup in setups.items()}
        yield Aftermath(ends, host, attacker, sandbox.published_texts())


@pytest.fixture(params=["local", "job"])
def aftermath(request: pytest.FixtureRequest) -> Aftermath:
    """The outcome of all attacks, by engine."""
    aftermath: Aftermath = request.getfixturevalue(request.param)
    return aftermath


@pytest.mark.parametrize(("aftermath", "title"), CASES, indirect=["aftermath"])
def test_no_attack_redirects_the_commits(aftermath: Aftermath, title: str) -> None:
    attack, end = ATTACKS[title], aftermath.ends[title]
    assert aftermath.captured(title) == [None, None]
    if attack.refused is None:
        assert aftermath.pushed(title) == [f"Set up {end.project}"] * 2, end
        assert end.failed_at is None, end
        assert end.commits == tuple(aftermath.host.commit_of(repository(title, name)) for name in NAMES)
    else:
        assert aftermath.pushed(title) == [None, None], end
        assert end.failed_at == "push", end
        assert attack.refused in end.message


def test_the_attacker_never_sees_the_password(aftermath: Aftermath) -> None:
    assert not aftermath.attacker.knows(PASSWORD)
    assert not [request for request in aftermath.attacker.received if request.startswith("POST /loot")]
    assert not [request for request in aftermath.attacker.received if "git-receive-pack" in request]
    for place, text in aftermath.shown.items():
        assert PASSWORD not in text, place


def test_the_attacker_would_notice(aftermath: Aftermath) -> None:
    """The step after the push reaches the attacker's host, so the absence of stolen data is meaningful."""
    assert any(request.startswith("POST /after") for request in aftermath.attacker.received)


@pytest.mark.parametrize("username", ["robot", "robots", "robot-2"])
def test_the_attacker_understands_what_git_sends(aftermath: Aftermath, username: str) -> None:
    login = base64.b64encode(f"{username}:{PASSWORD}".encode()).decode()
    thief = replace(aftermath.attacker, received=[f"GET /\nAuthorization: Basic {login}\n\n"])
    assert thief.knows(PASSWORD)
