"""Which steps with credentials `lint` warns of: those that run or obey what an earlier step could have written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from projectsetup.recipes.lint import careless_steps
from projectsetup.recipes.loader import RecipeBook, load_recipe
from projectsetup.recipes.model import Recipe

CARELESS = {
    "./push.sh": "runs ./push.sh",
    "scripts/push --all": "runs scripts/push",
    '"$WORKSPACE"/push.sh': "runs $WORKSPACE/push.sh",
    "/setup/workspace/push.sh": "runs /setup/workspace/push.sh",
    "sh push.sh": "runs push.sh",
    "bash -eu code/push.sh": "runs code/push.sh",
    ". ./settings": "runs ./settings",
    "make push": "runs make in the workspace",
    "cd code && npm publish": "runs npm in the workspace",
    "cd code\nuv run push": "runs uv in the workspace",
    "echo ok; X=1 exec make": "runs make in the workspace",
    "if true; then make; fi": "runs make in the workspace",
    "# first\necho a # then\nmake": "runs make in the workspace",
    "code/.venv/bin/python push.py": "runs code/.venv/bin/python",
    "python -m build": "runs python without -I in the workspace",
    "python3 push.py": "runs python3 without -I in the workspace",
    "cd code && git push origin main": "obeys the .git/config of the directory that it runs git in",
    'git -C code push "$CODE_REPO" main': "obeys the .git/config of the directory that it runs git in",
    'git push "$CODE_REPO" main': "obeys the .git/config of the directory that it runs git in",
    'cd "$HOME"; git -C "$WORKSPACE/code" push': "obeys the .git/config of the directory that it runs git in",
    "cd /tmp; cd $WORKSPACE; make": "runs make in the workspace",
}
CAREFUL = [
    "projectsetup-push",
    "projectsetup-push --branch trunk || exit 1",
    "python -I -m projectsetup.recipes.commands.push",
    "/usr/local/bin/push-to-somewhere",
    'curl --fail -u "$PROJECT_GIT_USERNAME:$PROJECT_GIT_PASSWORD" "$CODE_REPO" >"$HOME/x" 2>&1',
    'git clone "$CODE_REPO" "$HOME/code"\ncd "$HOME/code"\ngit push',
    'git -C "$HOME/code" push',
    "cd /opt/tools && make",
    "echo './push.sh' make; printf '%s\\n' git",
    'echo "no end',
]


def recipe_with(run: str, *, credentials: bool = True, env: dict[str, str] | None = None) -> Recipe:
    step = {"name": "push", "status": "committing", "run": run, "credentials": credentials, "env": env or {}}
    return Recipe.model_validate({"name": "mine", "image": "x:1", "steps": [step]})


@pytest.mark.parametrize("run", CARELESS)
def test_a_careless_step_is_told(run: str) -> None:
    assert careless_steps(recipe_with(run)) == (
        f"step push has credentials and {CARELESS[run]}, which an earlier step could have written",
    )
    assert careless_steps(recipe_with(run, credentials=False)) == ()


@pytest.mark.parametrize("run", CAREFUL)
def test_a_careful_step_is_not(run: str) -> None:
    assert careless_steps(recipe_with(run)) == ()


def test_a_relative_path_for_programs_is_told() -> None:
    (warning,) = careless_steps(recipe_with("push", env={"PATH": "bin:/usr/bin"}))
    assert "relative directory of PATH" in warning
    assert careless_steps(recipe_with("push", env={"PATH": "/usr/bin"})) == ()


def test_our_own_recipes_and_examples_are_careful() -> None:
    text = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
    examples = [load_recipe(example, "docs") for example in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    for recipe in (RecipeBook().get("python-service"), *examples):
        assert any(step.credentials for step in recipe.steps)
        assert careless_steps(recipe) == ()
