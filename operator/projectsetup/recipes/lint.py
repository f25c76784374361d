"""Warnings about steps that will not work, are not safe, or may change, as far as the recipe shows."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from projectsetup.recipes.model import Recipe, Step


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a step; `line` counts from 1 in its script, and is None if it is about no line."""

    step: str
    text: str
    line: int | None = None

    def __str__(self) -> str:
        return f"step {self.step} {self.text}"


@dataclass(frozen=True, slots=True)
class Command:
    """A program and its arguments, and the line of the script on which it begins."""

    line: int
    program: str
    arguments: tuple[str, ...]


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


def unsafe_steps(recipe: Recipe) -> tuple[Finding, ...]:
    """One for each step with credentials that seems to execute or read what an earlier step could have written."""
    return tuple(
        Finding(step.name, f"has credentials and {what}, which an earlier step could have written", line)
        for step in recipe.steps
        if step.credentials
        for line, what in _unsafe_uses(step)[:1]
    )


def _unsafe_uses(step: Step) -> list[tuple[int | None, str]]:
    if any(not entry.startswith("/") for entry in step.env.get("PATH", "/").split(":")):
        return [(None, "searches a relative directory in PATH")]
    inside = True
    found: list[tuple[int | None, str]] = []
    for command in commands(step.run):
        if command.program == "cd":
            inside = _leads_inside(command.arguments[-1] if command.arguments else "~", inside=inside)
        elif (what := _unsafe_command(command.program, command.arguments, inside=inside)) is not None:
            found.append((command.line, what))
    return found


def _leads_inside(path: str, *, inside: bool) -> bool:
    """Whether a path is in the workspace; `inside` says whether the current directory is."""
    return _WORKSPACE.match(path) is not None or (inside and _ELSEWHERE.match(path) is None)


def _unsafe_command(program: str, arguments: Sequence[str], *, inside: bool) -> str | None:
    """What the command executes or reads in the workspace; None if nothing."""
    files = [argument for argument in arguments if not argument.startswith(("-", "<"))]
    if "/" in program and _leads_inside(program, inside=inside):
        return f"runs {program}"
    name = program.rpartition("/")[2]
    if name == "git":
        return "runs git in the workspace, where it obeys .git/config" if _enters(arguments, inside=inside) else None
    if name in _BUILDERS and inside:
        return f"runs {name} in the workspace"
    if _PYTHON.fullmatch(name) and inside and not any(map(_ISOLATED.match, arguments)):
        return f"runs {name} without -I in the workspace"
    if name in _SHELLS and not {"-c", "<<"}.intersection(arguments):
        script = files[0] if files else f"what {name} reads"
        return f"runs {script}" if _leads_inside(script, inside=inside) else None
    return None


def _enters(arguments: Sequence[str], *, inside: bool) -> bool:
    """Whether git with these arguments works on a repository in the workspace."""
    if arguments[:1] == ("-C",) and len(arguments) > 1:
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
_QUOTED: Final = re.compile(r"""'[^']*'|"[^"$`\\]*"|\\.""")
_SYNTAX_COMMENT: Final = re.compile(r"(?m)(?:^|(?<=[\s;&|]))#.*$")
_TIME: Final = 10.0
_PLACE: Final = re.compile(r"(?:\bline )?(?P<line>\d+): ")


def unportable_steps(recipe: Recipe) -> tuple[Finding, ...]:
    """One for each construct that plain `sh` (dash, busybox) lacks, and for each script that it cannot parse."""
    return tuple(
        Finding(step.name, text, line)
        for step in recipe.steps
        for line, text in sorted(_found(step.run)) or _syntax_errors(step.run)
    )


def _found(script: str) -> Iterator[tuple[int, str]]:
    plain = _HEREDOC.sub(lambda heredoc: f" {heredoc['rest']}{_line_ends(heredoc)}", script)
    for command in commands(plain):
        text = _unportable(command.program, command.arguments)
        if text is not None:
            yield command.line, text
    syntax = _SYNTAX_COMMENT.sub("", _QUOTED.sub(lambda quoted: f"''{_line_ends(quoted)}", plain))
    for name, pattern in _SYNTAX.items():
        if found := pattern.search(syntax):
            yield syntax.count("\n", 0, found.end()) + 1, f"uses {name}, which plain sh lacks"


def _line_ends(match: re.Match[str]) -> str:
    """The line ends in the match, so that what follows it stays on its line."""
    return "\n" * match[0].count("\n")


def _unportable(program: str, arguments: Sequence[str]) -> str | None:
    if program in _BUILTINS:
        return f"uses {program}, which plain sh lacks: {_BUILTINS[program]}"
    if program == "set" and "pipefail" in arguments:
        return "sets pipefail, which plain sh lacks: write to a file and check each command"
    if program in ("[", "test") and "==" in arguments:
        return f"uses == in {program}, which plain sh lacks: use ="
    if program == "echo" and arguments and arguments[0] in ("-e", "-ne", "-en"):
        return f"uses echo {arguments[0]}, which plain sh prints as text: use printf"
    return None


def _syntax_errors(script: str) -> list[tuple[int | None, str]]:
    """The first error that a shell on this machine reports for the script, without running it."""
    shell = shutil.which("dash") or shutil.which("sh")
    if shell is None:
        return []
    try:
        done = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, timeout=_TIME, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode == 0:
        return []
    first = next(iter(done.stderr.splitlines()), "syntax error")
    place = _PLACE.search(first)
    if place is None:
        return [(None, f"cannot be parsed by sh: {first}")]
    return [(int(place["line"]), f"cannot be parsed by sh: {first[place.end() :]}")]


def unpinned_images(recipe: Recipe) -> tuple[str, ...]:
    """One line for each image without a tag or digest, or with the tag `latest`: what it holds may change any time."""
    images = dict.fromkeys(recipe.image_of(step) for step in recipe.steps)
    return tuple(
        f"image {image} {what}; name a version, since what it holds may change between two attempts"
        for image in images
        if (what := _unpinned(image)) is not None
    )


def _unpinned(image: str) -> str | None:
    name = image.rpartition("/")[2]
    if "@" in name:
        return None
    _, colon, tag = name.partition(":")
    if not colon:
        return "has no tag"
    return "has the tag latest" if tag == "latest" else None


_COMMENT: Final = re.compile(r"(?m)(?:^|(?<=\s))#.*$")
_SEPARATOR: Final = re.compile(r"[;&|()\n]+")
_CONTINUED: Final = re.compile(r"(?:[^\n]*\\\n)+[^\n]*")
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
        "sudo",
        "time",
        "timeout",
        "xargs",
    )
)
_OPTION: Final = re.compile(r"-|[0-9.]+[smhd]?$")
"""An option of those commands, or its value."""
_INNER: Final = re.compile(r"\$\((?!\()([^()]*)\)|`([^`]*)`")


def commands(script: str) -> Iterator[Command]:
    """The commands of a script; stops where the script cannot be parsed."""
    joined = _CONTINUED.sub(lambda lines: lines[0].replace("\\\n", " ") + _line_ends(lines), script)
    lexer = shlex.shlex(_COMMENT.sub("", joined), posix=True, punctuation_chars=";&|()<>\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    words: list[str] = []
    line = begun = 1
    try:
        for word in (*lexer, ";"):
            if not _SEPARATOR.fullmatch(word):
                if not words:
                    begun = line
                words.append(word)
                line += word.count("\n")
                continue
            yield from _inner(words, begun)
            while words and (words[0] in _BEFORE_COMMANDS or _ASSIGNMENT.match(words[0])):
                del words[0]
                while words and _OPTION.match(words[0]):
                    del words[0]
            if words:
                yield Command(begun, words[0], tuple(words[1:]))
            words = []
            line += word.count("\n")
    except ValueError:  # quoting that only a shell understands
        return


def _inner(words: Sequence[str], line: int) -> Iterator[Command]:
    """The commands in `$( … )` and backticks within words, and in `sh -c …`."""
    scripts = [first or second for word in words for first, second in _INNER.findall(word)]
    scripts += [after for before, after in pairwise(words) if before == "-c" and words[0] in _SHELLS]
    for script in scripts:
        yield from (replace(command, line=line) for command in commands(script))
