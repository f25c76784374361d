"""Secrets and recipes created after the ProjectSetup that names them: GitOps applies objects in any order."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from projectsetup.api.reasons import Reason
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import RECIPES, NewSandbox, Sandbox, message
from tests.support.setup_handle import Setup, condition

SOON = 15.0
"""Seconds until a setup ends whose Secret or recipe was created: the operator checks at least every 10 s."""
CROWD = 60


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An administrator's directory with one recipe; it is a link that can be replaced, as in a pod."""
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "one").mkdir()
    shutil.copy(RECIPES / "instant.yaml", folder / "one")
    (folder / "recipes").symlink_to("one")
    return folder / "recipes"


@pytest.fixture(scope="module")
def served(new_sandbox: NewSandbox, recipes: Path) -> Iterator[Sandbox]:
    """An operator with one slot and these recipes."""
    with new_sandbox(recipes_dir=str(recipes), concurrency="1") as sandbox:
        sandbox.operator.start()
        yield sandbox


def needs(sandbox: Sandbox, secret: str, **options: object) -> Setup:
    return Setup.make(sandbox, spec={"credentialsSecretRef": {"name": secret}}, **options)  # type: ignore[arg-type]


def make_secret(sandbox: Sandbox, name: str) -> None:
    sandbox.api.kubectl("create", "secret", "generic", name, "--from-literal=token=t")


def publish(recipes: Path, *names: str) -> None:
    """Replace the recipes in the directory atomically, as the kubelet does."""
    following = recipes.with_name(f"next-{len(list(recipes.parent.iterdir()))}")
    following.mkdir()
    for name in names:
        (following / f"{name}.yaml").write_text((RECIPES / "instant.yaml").read_text().replace("instant", name))
    link = recipes.with_name("link")
    link.symlink_to(following.name)
    link.replace(recipes)


def test_a_setup_waits_for_its_secret_without_a_slot(served: Sandbox) -> None:
    setup = needs(served, "later")
    status = setup.reached_reason("DependencyMissing")
    assert message(status).startswith(
        "Secret later of spec.credentialsSecretRef does not exist; waiting for it until 20"
    )
    assert (status["phase"], status["attempt"], condition(status, "Reconciling")["status"]) == ("Queued", 0, "True")
    assert Setup.make(served).ended()[0] == Reason.SETUP_SUCCEEDED  # takes the only slot
    make_secret(served, "later")
    why, status = setup.ended(limit=SOON)
    assert (why, status["attempt"]) == (Reason.SETUP_SUCCEEDED, 1)
    assert "dependencyMissingSince" not in status
    setup.wait_for_events("DependencyMissing", "Succeeded")


def test_a_recipe_directory_that_is_briefly_missing_fails_no_setup(served: Sandbox, recipes: Path) -> None:
    recipes.rename(recipes.with_name("away"))
    setup = Setup.make(served)
    assert "cannot be read" in message(setup.reached_reason("DependencyMissing"))
    publish(recipes, "instant")
    assert setup.ended(limit=SOON)[0] == Reason.SETUP_SUCCEEDED


def test_recipe_and_secret_may_be_created_in_any_order(served: Sandbox, recipes: Path) -> None:
    setup = needs(served, "both", recipe="both")
    assert "there is no recipe 'both'" in message(setup.reached_reason("DependencyMissing"))
    publish(recipes, "both", "instant")
    setup.wait_for("waiting for its Secret", lambda status: "Secret both" in message(status), limit=SOON)
    make_secret(served, "both")
    assert setup.ended(limit=SOON)[0] == Reason.SETUP_SUCCEEDED


def test_the_limit_survives_restarts_and_a_retry_waits_again(new_sandbox: NewSandbox) -> None:
    with new_sandbox(dependency_limit="20s") as sandbox:
        sandbox.operator.start()
        setup = needs(sandbox, "never")
        since = setup.reached_reason("DependencyMissing")["dependencyMissingSince"]
        sandbox.operator.kill()
        sandbox.operator.start()
        why, status = setup.ended(limit=40.0)
        assert (why, status["attempt"]) == (Reason.INVALID_SPEC, 0)
        assert message(status) == "Secret never of spec.credentialsSecretRef does not exist; gave up waiting after 20s"
        waited = datetime.fromisoformat(status["finishedAt"]) - datetime.fromisoformat(since)
        assert 20 <= waited.total_seconds() < 30
        setup.annotate(retry_requested_at="1")
        setup.reached_reason("DependencyMissing")
        make_secret(sandbox, "never")
        assert setup.ended(limit=SOON)[0] == Reason.SETUP_SUCCEEDED


def test_many_setups_that_wait_for_one_secret_share_its_reads(served: Sandbox) -> None:
    crowd = [needs(served, "popular") for _ in range(CROWD)]
    for setup in crowd:
        setup.reached_reason("DependencyMissing", limit=60.0)
    before, since = secret_reads(served), served.api.get(crowd[0].name)
    wait_for(lambda: secret_reads(served) >= before + 2, "two more reads of the Secret")
    assert secret_reads(served) <= before + 3
    assert served.api.get(crowd[0].name) == since
    make_secret(served, "popular")
    for setup in crowd:
        assert setup.ended(limit=60.0)[0] == Reason.SETUP_SUCCEEDED


def secret_reads(sandbox: Sandbox) -> int:
    """How often Secrets were read; kubectl creates them without reading any."""
    counts = re.findall(
        r'^apiserver_request_total\{(?=[^}]*resource="secrets")(?=[^}]*verb="GET")[^}]*\} (\d+)$',
        sandbox.api.kubectl("get", "--raw", "/metrics"),
        re.MULTILINE,
    )
    return sum(map(int, counts))
