"""Real obstacles that are not the project's fault: full, read-only and noexec file systems, limits of the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from projectsetup.api.reasons import Reason
from projectsetup.engines.local.engine import LocalEngine
from projectsetup.setup.steps import setup_project
from projectsetup.setup.types import InfrastructureError, SetupFailed, SetupOutcome, SetupProject
from tests.support.job_attempts import make_recipe
from tests.support.local_steps import PATH, until
from tests.support.mounts import mount, mounted, needs_mounts, remount

pytestmark = needs_mounts

FILL = "head -c 9000000 /dev/zero >file"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


async def outcome(root: Path, script: str) -> SetupOutcome:
    """The outcome of an attempt with workspaces below `root` whose only step is this script."""
    engine = LocalEngine(root, grace=1.0)
    await engine.start()
    try:
        async with engine.open(uuid4(), 1) as runner:
            return await setup_project(
                SetupProject(uuid4(), "n", "n", "", "https://git.example/a", None),
                make_recipe({"name": "install", "run": script}),
                lambda _: None,
                runner=runner,
                attempt=1,
                parameters={},
                time_limit=60.0,
                operator_environment={"PATH": PATH},
            )
    finally:
        await engine.close()


async def broken(root: Path, script: str) -> InfrastructureError:
    """Why the attempt broke."""
    with pytest.raises(InfrastructureError) as caught:
        await outcome(root, script)
    assert caught.value.step == "install"
    return caught.value


@pytest.mark.parametrize(
    "script",
    [
        FILL,
        f"{FILL} 2>&- || exit 1",
        f"{FILL} || {{ rm file; exit 1; }}",
        "i=0; while :; do i=$((i + 1)); : >file-$i; done",
    ],
    ids=["full", "full without a word", "freed again", "no inodes"],
)
async def test_a_full_disk_is_not_the_projects_fault(tmp_path: Path, stack: ExitStack, script: str) -> None:
    root = stack.enter_context(mounted(tmp_path / "root", "size=8m,nr_inodes=200"))
    error = await broken(root, script)
    assert error.reason is Reason.ENGINE_ERROR
    assert "because the disk is full" in error.message


async def test_with_free_space_a_failure_is_the_projects(tmp_path: Path, stack: ExitStack) -> None:
    root = stack.enter_context(mounted(tmp_path / "root", "size=8m,nr_inodes=200"))
    assert isinstance(await outcome(root, "echo some device >&2; exit 1"), SetupFailed)


@pytest.mark.parametrize(
    "script",
    ["while ./program; do sleep 0.05; done; ./program", "python -c 'import subprocess as s; s.run(\"./program\")'"],
)
async def test_a_noexec_mount_is_not_the_projects_fault(tmp_path: Path, stack: ExitStack, script: str) -> None:
    root = stack.enter_context(mounted(tmp_path / "root", "size=8m"))
    make = "printf '#!/bin/sh\\n' >program; chmod +x program; touch ready; while ./program; do sleep 0.05; done"
    running = asyncio.create_task(broken(root, f"{make}\n{script}"))
    await until(lambda: list(root.glob("*/*/workspace/ready")), "the step to run")
    remount(root, "noexec")
    error = await running
    assert error.reason is Reason.ENGINE_ERROR
    assert "because its workspace is mounted noexec" in error.message


async def test_a_read_only_mount_is_not_the_projects_fault(tmp_path: Path, stack: ExitStack) -> None:
    root = stack.enter_context(mounted(tmp_path / "root", "size=8m"))
    script = 'touch ready; while touch "$WORKSPACE/new" 2>&-; do sleep 0.05; done; exit 1'
    running = asyncio.create_task(broken(root, script))
    await until(lambda: list(root.glob("*/*/workspace/ready")), "the step to run")
    (ready,) = root.glob("*/*/workspace/ready")
    mount(ready.parent, "ro")
    error = await running
    assert error.reason is Reason.ENGINE_ERROR
    assert "because its workspace is mounted read-only" in error.message


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("ulimit -n 3; cat /dev/null", "too many files are open"),
        ("ulimit -n 20; python -c 'x = [open(\"/dev/null\") for _ in range(40)]'", "too many files are open"),
        ("setpriv --reuid 65532 --clear-groups dash -c 'ulimit -p 1; ls; ls'", "it could not start a process"),
    ],
)
async def test_a_limit_of_the_machine_is_not_the_projects_fault(tmp_path: Path, script: str, why: str) -> None:
    error = await broken(tmp_path, script)
    assert f"because {why}" in error.message


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("size=8m,noexec", r"cannot run a program there: Permission denied \(is it mounted noexec\?\)"),
        ("size=8m,ro", "cannot create a directory there: Read-only file system"),
        ("size=16k", "cannot write a file there: No space left on device"),
        ("size=512k", "the disk is full"),
    ],
)
async def test_an_engine_does_not_start_with_an_unusable_workspace_root(
    tmp_path: Path, stack: ExitStack, options: str, why: str
) -> None:
    root = stack.enter_context(mounted(tmp_path / "root", options))
    with pytest.raises(InfrastructureError, match=f"^{why}$"):
        await LocalEngine(root).start()
    assert not list(root.iterdir())
