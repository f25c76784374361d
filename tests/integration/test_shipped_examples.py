"""The ProjectSetups that the manifests and the documentation show: each creates its project and sets it up.

Only the addresses of their repositories are replaced, by those of local bare repositories.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final

import pytest
import yaml

from projectsetup.recipes import builtin
from tests.support.manifests import MANIFESTS, Body
from tests.support.operator_sandbox import NewSandbox, Sandbox
from tests.support.pages import code_blocks
from tests.support.recipe_steps import uv_cache
from tests.support.setup_handle import Setup

LIMIT: Final = 300.0


def _in_a_here_document(page: str) -> str:
    (script,) = code_blocks(page, "sh", containing="kind: ProjectSetup")
    _, _, rest = script.partition("<<END\n")
    return rest.partition("\nEND\n")[0].replace("$(uuidgen | tr A-Z a-z)", "7a1e8f54-70b3-4c5d-af6a-be7c8d6b0006")


EXAMPLES: Final = {
    "manifests": (MANIFESTS / "argocd" / "example-projectsetup.yaml").read_text(),
    "gitops": code_blocks("docs/gitops.md", "yaml", containing="kind: ProjectSetup")[0],
    "deployment": _in_a_here_document("docs/deployment.md"),
    "readme": code_blocks("README.md", "yaml", containing="kind: ProjectSetup")[0],
}


REPORT: Final = """
[ -z "$CODE_REPO" ] || echo CODE_COMMIT=0123456789012345678901234567890123456789 >> "$STEP_OUTPUTS"
[ -z "$DOCS_REPO" ] || echo DOCS_COMMIT=0123456789012345678901234567890123456789 >> "$STEP_OUTPUTS"
"""


def write_quick_recipe(folder: Path) -> Path:
    """A folder with a python-service that has the parameters and steps of the real one, and does nothing in them."""
    recipe = yaml.safe_load((resources.files(builtin) / "python-service.yaml").read_text())
    for step in recipe["steps"]:
        step["run"] = REPORT if step is recipe["steps"][-1] else "true"
    folder.mkdir()
    (folder / "python-service.yaml").write_text(yaml.safe_dump(recipe))
    return folder


@pytest.fixture
def operator(example: str, new_sandbox: NewSandbox, tmp_path: Path) -> Iterator[Sandbox]:
    """An operator with an empty database, in a cluster that enforces the policy; one example runs the real recipe."""
    recipes = {} if example == "readme" else {"recipes_dir": str(write_quick_recipe(tmp_path / "recipes"))}
    with new_sandbox(environment={"UV_CACHE_DIR": uv_cache()}, **recipes) as sandbox:
        sandbox.api.enforce_policy()
        sandbox.operator.start()
        yield sandbox


def with_local_repositories(example: str, folder: Path) -> Body:
    """The example with the addresses of bare repositories below `folder` instead of its own."""
    body: Body = yaml.safe_load(example)
    project = body["spec"]["project"]
    for field in {"codeRepo", "docsRepo"} & project.keys():
        repository = folder / f"{field}.git"
        subprocess.run(["git", "init", "--quiet", "--bare", str(repository)], check=True)
        project[field] = f"file://{repository}"
    return body


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_alone_sets_its_project_up(operator: Sandbox, example: str, tmp_path: Path) -> None:
    body = with_local_repositories(EXAMPLES[example], tmp_path)
    file = tmp_path / "projectsetup.yaml"
    file.write_text(yaml.safe_dump(body))
    operator.api.kubectl("apply", "-f", str(file))
    secret = body["spec"]["credentialsSecretRef"]["name"]
    operator.api.kubectl("create", "secret", "generic", secret, "--from-literal=token=any")

    setup = Setup(operator, operator.api, body["metadata"]["name"])
    why, status = setup.ended(limit=LIMIT)
    project = body["spec"]["project"]
    assert (why, status["projectName"]) == ("SetupSucceeded", project["name"])
    assert status["commits"].keys() == {"codeRepo", "docsRepo"} & project.keys()
    assert setup.record["namespace"] == operator.api.namespace

    assert operator.api.kubectl("apply", "-f", str(file)).endswith(" unchanged\n")
    operator.api.kubectl("delete", "-f", str(file))
    operator.api.kubectl("apply", "-f", str(file))
    assert setup.ended()[0] == "AlreadySetUp"
