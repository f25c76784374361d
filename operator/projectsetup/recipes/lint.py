"""Warnings about steps that will not work, or are not safe, as far as their scripts show."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


def unsafe_steps(recipe: Recipe) -> tuple[str, ...]:
    """One line for each step with credentials that seems to execute or read what an earlier step could have written."""
    return tuple(
        f"step {step.name} has credentials and {what}, which an earlier step could have written"
        for step in recipe.steps
        if step.credentials and (what := _unsafe_use(step)) is not None
    )


def _unsafe_use(step: Step) -> str | None:
    if any(not entry.startswith("/") for entry in step.env.get("PATH", "/").split(":")):
        return "searches a relative directory in PATH"
    inside = True
    for program, *arguments in commands(step.run):
        if program == "cd":
            inside = _leads_inside(arguments[-1] if arguments else "~", inside=inside)
        elif (what := _unsafe_command(program, arguments, inside=inside)) is not None:
            return what
    return None


def _leads_inside(path: str, *, inside: bool) -> bool:
    """Whether a path is in the workspace; `inside` says whether the current directory is."""
    return _WORKSPACE.match(path) is not None or (inside and _ELSEWHERE.match(path) is None)


def _unsafe_command(program: str, arguments: Sequence[str], *, inside: bool) -> str | None:
    """What the command executes or reads in the workspace; None if nothing."""
    files = [argument for argument in arguments if not argument.startswith("-")]
    if "/" in program and _leads_inside(program, inside=inside):
        return f"runs {program}"
    name = program.rpartition("/")[2]
    if name == "git":
        return "runs git in the workspace, where it obeys .git/config" if _enters(arguments, inside=inside) else None
    if name in _BUILDERS and inside:
        return f"runs {name} in the workspace"
    if _PYTHON.fullmatch(name) and inside and not any(map(_ISOLATED.match, arguments)):
        return f"runs {name} without -I in the workspace"
    if name in _SHELLS and files and "-c" not in arguments and _leads_inside(files[0], inside=inside):
        return f"runs {files[0]}"
    return None


def _enters(arguments: Sequence[str], *, inside: bool) -> bool:
    """Whether git with these arguments works on a repository in the workspace."""
    if arguments[:1] == ["-C"] and len(arguments) > 1:
        return _leads_inside(arguments[1], inside=inside)
    return inside and not _GIT_WITHOUT_REPOSITORY.intersection(arguments[:1])


_BUILTINS: Final = {
    "[[": "use [ … ]",
    "source": "use .",
    "function": "use NAME() { … }",
    "let": "use $(( … ))",
    "pushd": "use cd in a subshell",
    "popd": "use cd in a subshell",
    **dict.fromkeys(
        ("declare", "typeset", "shopt", "mapfile", "readarray", "select", "coproc", "disown"), "only bash has it"
    ),
}
_SYNTAX: Final = {
    "an array": re.compile(r"(?m)(?:^|[;&|\s])[A-Za-z_]\w*\+?=\(|\$\{[A-Za-z_]\w*\["),
    "<<<": re.compile(r"<<<"),
    "<( … )": re.compile(r"(?:^|\s)[<>]\((?!\()"),
    "&>": re.compile(r"&>"),
    "|&": re.compile(r"\|&"),
    "(( … ))": re.compile(r"(?m)(?:^|[;&|]|\b(?:if|while|until|do|then|for))\s*\(\("),
    "$'…'": re.compile(r"(?<![\\$\w\"])\$''"),
    "${…^^}, ${…,,}": re.compile(r"\$\{[A-Za-z_]\w*(?:\^|,)"),
    "${…/…}": re.compile(r"\$\{[A-Za-z_]\w*/"),
    "${…:1:2}": re.compile(r"\$\{[A-Za-z_]\w*:\s*[0-9$(]"),
    "{1..9}": re.compile(r"\{[0-9a-z]+\.\.[0-9a-z]+\}"),
}
_HEREDOC: Final = re.compile(r"(?ms)<<-?\s*(?P<quote>[\"'\\]?)(?P<word>\w+)[\"']?(?P<rest>[^\n]*)\n.*?^\t*(?P=word)$")
_QUOTED: Final = re.compile(r"'[^']*'|\\.")
_SYNTAX_COMMENT: Final = re.compile(r"(?m)(?:^|(?<=[\s;&|]))#.*$")
_TIME: Final = 10.0


def unportable_steps(recipe: Recipe) -> tuple[str, ...]:
    """One line for each construct that plain `sh` (dash, busybox) lacks, and for each script that it cannot parse."""
    return tuple(
        f"step {step.name} {what}" for step in recipe.steps for what in (*_found(step.run),) or _syntax_errors(step.run)
    )


def _found(script: str) -> Iterator[str]:
    plain = _HEREDOC.sub(r" \g<rest>", script)
    for program, *arguments in commands(plain):
        if program in _BUILTINS:
            yield f"uses {program}, which plain sh lacks: {_BUILTINS[program]}"
        elif program == "set" and "pipefail" in arguments:
            yield "sets pipefail, which plain sh lacks: write to a file and check each command"
        elif program in ("[", "test") and "==" in arguments:
            yield f"uses == in {program}, which plain sh lacks: use ="
        elif program == "echo" and arguments[:1] in (["-e"], ["-ne"], ["-en"]):
            yield f"uses echo {arguments[0]}, which plain sh prints as text: use printf"
    syntax = _SYNTAX_COMMENT.sub("", _QUOTED.sub("''", plain))
    yield from (f"uses {name}, which plain sh lacks" for name, pattern in _SYNTAX.items() if pattern.search(syntax))


def _syntax_errors(script: str) -> Iterator[str]:
    """The first error that a shell on this machine reports for the script, without running it."""
    shell = shutil.which("dash") or shutil.which("sh")
    if shell is None:
        return
    try:
        done = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, timeout=_TIME, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return
    if done.returncode != 0:
        first = next(iter(done.stderr.splitlines()), "syntax error")
        yield f"cannot be parsed by sh: {first.partition(': ')[2] or first}"


_COMMENT: Final = re.compile(r"(?m)(?:^|(?<=\s))#.*$")
_SEPARATOR: Final = re.compile(r"[;&|()\n]+")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_BEFORE_COMMANDS: Final = frozenset(
    (
        "!",
        "{",
        "}",
        "if",
        "then",
        "elif",
        "else",
        "while",
        "until",
        "do",
        "command",
        "env",
        "exec",
        "nice",
        "nohup",
        "time",
    )
)


def commands(script: str) -> Iterator[list[str]]:
    """The commands of a script, each a program and its arguments; stops where the script cannot be parsed."""
    lexer = shlex.shlex(_COMMENT.sub("", script.replace("\\\n", " ")), posix=True, punctuation_chars=";&|()<>\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    words: list[str] = []
    try:
        for word in (*lexer, ";"):
            if not _SEPARATOR.fullmatch(word):
                words.append(word)
                continue
            while words and (words[0] in _BEFORE_COMMANDS or _ASSIGNMENT.match(words[0])):
                del words[0]
            if words:
                yield words
            words = []
    except ValueError:  # quoting that only a shell understands
        return
