"""Steps with credentials that run what the workspace holds, as far as their scripts show it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from projectsetup.recipes.shell_commands import commands

if TYPE_CHECKING:
    from collections.abc import Sequence

    from projectsetup.recipes.model import Recipe, Step


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ELSEWHERE = re.compile(r"~|/|\$\{?(?:HOME|TMPDIR)\b")
_WORKSPACE = re.compile(r"/setup(?:/|$)|\$\{?(?:WORKSPACE|PWD)\b")

_BUILDERS = _words(
    """
    bundle cargo composer go gradle just make mvn ninja node npm npx nox perl php pip pip3 pnpm poetry rake ruby tox uv
    uvx yarn
    """
)
_PYTHON = re.compile(r"python[0-9.]*")
_ISOLATED = re.compile(r"-[A-Za-z]*I")
_SHELLS = _words(". ash bash dash ksh sh source zsh")
_GIT_WITHOUT_REPOSITORY = frozenset({"clone", "version", "--version"})


def careless_steps(recipe: Recipe) -> tuple[str, ...]:
    """One line for each step with credentials that seems to run or obey what an earlier step could have written."""
    return tuple(
        f"step {step.name} has credentials and {what}, which an earlier step could have written"
        for step in recipe.steps
        if step.credentials and (what := _carelessness(step)) is not None
    )


def _carelessness(step: Step) -> str | None:
    if any(not entry.startswith("/") for entry in step.env.get("PATH", "/").split(":")):
        return "looks for programs in a relative directory of PATH"
    inside = True
    for program, *arguments in commands(step.run):
        if program == "cd":
            inside = _leads_inside(arguments[-1] if arguments else "~", inside=inside)
        elif (what := _obeyed(program, arguments, inside=inside)) is not None:
            return what
    return None


def _leads_inside(path: str, *, inside: bool) -> bool:
    """Whether a path lies in the workspace, seen from a directory that does or does not."""
    return _WORKSPACE.match(path) is not None or (inside and _ELSEWHERE.match(path) is None)


def _obeyed(program: str, arguments: Sequence[str], *, inside: bool) -> str | None:
    """What of the workspace the command runs or obeys."""
    files = [argument for argument in arguments if not argument.startswith("-")]
    if "/" in program and _leads_inside(program, inside=inside):
        return f"runs {program}"
    name = program.rpartition("/")[2]
    if name == "git":
        return (
            "obeys the .git/config of the directory that it runs git in" if _enters(arguments, inside=inside) else None
        )
    if name in _BUILDERS and inside:
        return f"runs {name} in the workspace"
    if _PYTHON.fullmatch(name) and inside and not any(map(_ISOLATED.match, arguments)):
        return f"runs {name} without -I in the workspace"
    if name in _SHELLS and files and "-c" not in arguments and _leads_inside(files[0], inside=inside):
        return f"runs {files[0]}"
    return None


def _enters(arguments: Sequence[str], *, inside: bool) -> bool:
    """Whether git with these arguments finds a repository in the workspace."""
    if arguments[:1] == ["-C"] and len(arguments) > 1:
        return _leads_inside(arguments[1], inside=inside)
    return inside and not _GIT_WITHOUT_REPOSITORY.intersection(arguments[:1])
