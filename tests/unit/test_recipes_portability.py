"""What `lint` says of scripts that plain sh does not run as they are meant."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from projectsetup.recipes.lint import unportable_steps
from projectsetup.recipes.loader import RecipeBook, load_recipe
from tests.support.job_orders import make_recipe

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
def test_what_plain_sh_lacks_is_told(script: str) -> None:
    warnings = unportable_steps(make_recipe({"name": "build", "run": script}))
    assert any(warning.startswith(f"step build {UNPORTABLE[script]}") for warning in warnings), warnings
    assert all(warning.isprintable() for warning in warnings)


@pytest.mark.parametrize("script", PORTABLE)
def test_what_plain_sh_understands_is_not(script: str) -> None:
    assert unportable_steps(make_recipe({"name": "build", "run": script})) == ()


@pytest.mark.skipif(shutil.which("dash") is None, reason="dash is not installed")
@pytest.mark.parametrize("script", PORTABLE)
def test_dash_parses_what_is_portable(script: str) -> None:
    assert subprocess.run(["dash", "-n"], input=script, text=True, capture_output=True, check=False).returncode == 0


def test_our_own_recipes_and_examples_are_portable() -> None:
    text = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
    examples = [load_recipe(example, "docs") for example in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    assert examples
    for recipe in (RecipeBook().get("python-service"), *examples):
        assert unportable_steps(recipe) == ()
