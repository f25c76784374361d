"""Attacker: project code in a step of the local engine, confined by `PROJECTSETUP_CONFINE_STEPS`.

It waits until the kubelet replaces the Secret that holds the operator's key for the database: a mounted file is a link,
and after that it leads to another directory than at the start of the operator.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from uuid import uuid4

import pytest

from projectsetup.engines.local.attempt import LocalAttempt
from projectsetup.engines.local.engine import LocalEngine
from projectsetup.engines.local.supervisor import landlock
from projectsetup.setup.types import StepCommand
from tests.support.local_steps import PATH

pytestmark = pytest.mark.skipif(not landlock.abi(), reason="this kernel has no Landlock")


def publish(mount: Path, version: str) -> None:
    """Replace all files at once, as the kubelet does."""
    (mount / f"..{version}").mkdir()
    (mount / f"..{version}" / "tls.key").write_text(f"KEY {version}")
    (mount / "..data_tmp").symlink_to(f"..{version}")
    replaced = (mount / "..data").resolve()
    (mount / "..data_tmp").rename(mount / "..data")
    if replaced.name != "..data":
        shutil.rmtree(replaced)


async def printed(attempt: LocalAttempt, script: str) -> str:
    output = bytearray()
    await attempt.run(StepCommand("test", script, {"PATH": PATH}, 60.0), output.extend)
    return output.decode()


async def test_a_key_that_was_replaced_cannot_be_read_either(tmp_path: Path) -> None:
    mount, root = tmp_path / "mount", tmp_path / "root"
    mount.mkdir()
    root.mkdir()
    publish(mount, "1")
    (mount / "tls.key").symlink_to("..data/tls.key")
    places = " ".join(f"{mount}/{name}" for name in ("tls.key", "..data/tls.key", "..1/tls.key", "..2/tls.key"))
    attack = f"cat {places} 2> /dev/null || echo nothing"
    engine = LocalEngine(root, hidden=[mount / "tls.key"], grace=0.5)
    await engine.start()
    try:
        async with engine.open(uuid4(), 1) as attempt:
            assert await printed(attempt, attack) == "nothing\n"
            publish(mount, "2")
            assert await printed(attempt, attack) == "nothing\n"
    finally:
        await engine.close()
