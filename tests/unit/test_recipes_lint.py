"""Warnings of `recipes lint`: unsafe steps with credentials, and scripts that plain sh does not understand."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from projectsetup.recipes.lint import unpinned_images, unportable_steps, unsafe_steps
from projectsetup.recipes.loader import RecipeBook, load_recipe
from projectsetup.recipes.model import Recipe
from tests.support.job_attempts import make_recipe
from tests.support.manifests import ROOT

UNSAFE = {
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
    "cd code && git push origin main": "runs git in the workspace, where it obeys .git/config",
    'git -C code push "$CODE_REPO" main': "runs git in the workspace, where it obeys .git/config",
    'git push "$CODE_REPO" main': "runs git in the workspace, where it obeys .git/config",
    'cd "$HOME"; git -C "$WORKSPACE/code" push': "runs git in the workspace, where it obeys .git/config",
    "cd /tmp; cd $WORKSPACE; make": "runs make in the workspace",
    'v="$(./x)"': "runs ./x",
    "echo `./x`": "runs ./x",
    "timeout -k 5 10s ./x": "runs ./x",
    "nice -n 5 ./x": "runs ./x",
    "env -i ./x": "runs ./x",
    "sudo make": "runs make in the workspace",
    "ls | xargs ./x": "runs ./x",
    "sh -c 'cd code; ./x'": "runs ./x",
    "sh <x.sh": "runs x.sh",
    "cat x | sh": "runs what sh reads",
}
SAFE = [
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
    "sh <<'END'\ngit version\nEND",
    'v=$(date); echo "$((1 + 2))"',
]


def recipe_with(run: str, *, credentials: bool = True, env: dict[str, str] | None = None) -> Recipe:
    step = {"name": "push", "status": "committing", "run": run, "credentials": credentials, "env": env or {}}
    return Recipe.model_validate({"name": "mine", "image": "x:1", "steps": [step]})


@pytest.mark.parametrize("run", UNSAFE)
def test_warns_of_an_unsafe_step_with_credentials(run: str) -> None:
    (finding,) = unsafe_steps(recipe_with(run))
    assert str(finding) == f"step push has credentials and {UNSAFE[run]}, which an earlier step could have written"
    assert unsafe_steps(recipe_with(run, credentials=False)) == ()


@pytest.mark.parametrize("run", SAFE)
def test_accepts_a_safe_step_with_credentials(run: str) -> None:
    assert unsafe_steps(recipe_with(run)) == ()


def test_warns_of_a_relative_directory_in_path() -> None:
    (finding,) = unsafe_steps(recipe_with("push", env={"PATH": "bin:/usr/bin"}))
    assert "relative directory in PATH" in finding.text
    assert unsafe_steps(recipe_with("push", env={"PATH": "/usr/bin"})) == ()


def test_our_recipes_and_examples_are_safe() -> None:
    text = (ROOT / "docs" / "recipes.md").read_text()
    texts = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    texts += [path.read_text() for path in (ROOT / "docs" / "recipes").glob("*.yaml")]
    book = RecipeBook()
    for recipe in (*map(book.get, book.names()), *(load_recipe(example, "docs") for example in texts)):
        assert any(step.credentials for step in recipe.steps)
        assert (*unsafe_steps(recipe), *unportable_steps(recipe), *unpinned_images(recipe)) == ()


UNPORTABLE = {
    "set -euo pipefail\nmake | tee log": "sets pipefail",
    "set -o pipefail": "sets pipefail",
    'if [[ "$A" = b ]]; then make; fi': "uses [[, which plain sh lacks: use [ … ]",
    "! [[ -f x ]] || exit 1": "uses [[",
    "files=(a b c)": "uses an array",
    'echo "${files[0]}"': "uses an array",
    "source ./env": "uses source, which plain sh lacks: use .",
    "function build { make; }": "uses function",
    "declare -A map": "uses declare",
    "let x=1+1": "uses let",
    "pushd code": "uses pushd",
    'cat <<<"$A"': "uses <<<",
    "diff <(sort a) <(sort b)": "uses <( … )",
    "make &>log": "uses &>",
    "make |& tee log": "uses |&",
    "(( x > 1 )) && make": "uses (( … ))",
    "printf %s $'a\\tb'": "uses $'…'",
    'echo "${A^^}"': "uses ${…^^}",
    'echo "${A/b/c}"': "uses ${…/…}",
    'echo "${A:0:7}"': "uses ${…:1:2}",
    "for i in {1..9}; do make; done": "uses {1..9}",
    '[ "$A" == b ]': "uses == in [",
    "echo -e 'a\\tb'": "uses echo -e",
    "if true; then make": "cannot be parsed by sh",
    "echo 'no end": "cannot be parsed by sh",
}
PORTABLE = [
    'echo "copy {1..3} &> out" "a <<< b"',
    "make build",
    'set -eu; [ "$A" = b ] && make || exit 1',
    "x=$(make); y=$((1 + 2)); z=$( (cd code && ls) )",
    "echo '[[ set -o pipefail a=(b) <<< &> {1..9}'",
    'echo "set -o pipefail"; printf "%s\\n" "[[ a ]]"',
    "# set -o pipefail, [[ and a=(b)\nmake",
    "python3 - <<'END'\na = [[1]]\nb = {x: (1, 2)}\nif a == b: print(f\"{a[0]}\")\nEND\nmake",
    "cat <<-END >file\n\t[[ $A == b ]] &> x\n\tEND",
    'echo "${A:-b}" "${A#b}" "${A%/*}" "${A:?is not set}" "${#A}" "$A[0]"',
    "case $A in (a) make ;; b|c) make all ;; esac",
    "build() { make; }; build",
    "make >log 2>&1 &\nwait",
    "jq '.a[0] == 1' <file",
    "git log --format='%h' | head -n 1",
]


@pytest.mark.parametrize("script", UNPORTABLE)
def test_warns_of_what_plain_sh_lacks(script: str) -> None:
    warnings = [str(finding) for finding in unportable_steps(make_recipe({"name": "build", "run": script}))]
    assert any(warning.startswith(f"step build {UNPORTABLE[script]}") for warning in warnings), warnings
    assert all(warning.isprintable() for warning in warnings)


@pytest.mark.parametrize("script", PORTABLE)
def test_accepts_what_plain_sh_understands(script: str) -> None:
    assert unportable_steps(make_recipe({"name": "build", "run": script})) == ()


@pytest.mark.skipif(shutil.which("dash") is None, reason="dash is not installed")
@pytest.mark.parametrize("script", PORTABLE)
def test_dash_parses_what_is_portable(script: str) -> None:
    assert subprocess.run(["dash", "-n"], input=script, text=True, capture_output=True, check=False).returncode == 0


SCRIPT = """\
cat <<END
[[ text
END
echo "two
lines" \\
  and three
[[ -f x ]]
diff <(sort a) b
set -o pipefail
"""


def test_names_the_line_of_the_script() -> None:
    findings = unportable_steps(make_recipe({"name": "build", "run": SCRIPT}))
    assert [(finding.line, finding.text.split(",")[0]) for finding in findings] == [
        (7, "uses [["),
        (8, "uses <( … )"),
        (9, "sets pipefail"),
    ]
    (broken,) = unportable_steps(make_recipe({"name": "build", "run": "make\nif true; then\nmake\n"}))
    assert broken.line in {3, 4}  # dash counts the line that is missing
    (unsafe,) = unsafe_steps(recipe_with("echo push\n\nmake push\nmake again"))
    assert unsafe.line == 3


@pytest.mark.parametrize(
    ("image", "what"),
    [
        ("debian", "has no tag"),
        ("localhost:5000/tools", "has no tag"),
        ("registry.example/tools:latest", "has the tag latest"),
        ("registry.example:5000/tools:1.2", None),
        ("registry.example/tools@sha256:" + "0123" * 16, None),
        ("registry.example/tools:latest@sha256:" + "0123" * 16, None),
    ],
)
def test_warns_of_images_that_may_change(image: str, what: str | None) -> None:
    recipe = Recipe.model_validate(
        {"name": "mine", "image": image, "steps": [{"name": "build", "status": "compiling", "run": "make"}]}
    )
    warnings = unpinned_images(recipe)
    assert [warning.split(";")[0] for warning in warnings] == ([f"image {image} {what}"] if what else [])
