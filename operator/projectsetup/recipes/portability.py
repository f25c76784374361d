"""What a step's script uses that plain `sh` lacks: dash and busybox refuse it, or understand it in another way."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from projectsetup.recipes.shell_commands import commands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from projectsetup.recipes.model import Recipe

_BUILTINS: Final = {
    "[[": "use [ … ]",
    "source": "use .",
    "function": "use NAME() { … }",
    "let": "use $(( … ))",
    "pushd": "use cd in a subshell",
    "popd": "use cd in a subshell",
    **dict.fromkeys(
        ("declare", "typeset", "shopt", "mapfile", "readarray", "select", "coproc", "disown"), "bash has it"
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
_COMMENT: Final = re.compile(r"(?m)(?:^|(?<=[\s;&|]))#.*$")
_TIME: Final = 10.0


def unportable_steps(recipe: Recipe) -> tuple[str, ...]:
    """One line for each construct of a step that plain `sh` lacks, or for a script that it cannot parse."""
    return tuple(
        f"step {step.name} {what}" for step in recipe.steps for what in (*_found(step.run),) or _syntax_errors(step.run)
    )


def _found(script: str) -> Iterator[str]:
    plain = _HEREDOC.sub(r" \g<rest>", script)
    for program, *arguments in commands(plain):
        if program in _BUILTINS:
            yield f"uses {program}, which plain sh lacks: {_BUILTINS[program]}"
        elif program == "set" and "pipefail" in arguments:
            yield "sets pipefail, which plain sh lacks: write to a file, and check each command"
        elif program in ("[", "test") and "==" in arguments:
            yield f"uses == in {program}, which plain sh lacks: use ="
        elif program == "echo" and arguments[:1] in (["-e"], ["-ne"], ["-en"]):
            yield f"uses echo {arguments[0]}, which plain sh prints: use printf"
    syntax = _COMMENT.sub("", _QUOTED.sub("''", plain))
    yield from (f"uses {name}, which plain sh lacks" for name, pattern in _SYNTAX.items() if pattern.search(syntax))


def _syntax_errors(script: str) -> Iterator[str]:
    """What a shell of this machine says of the script without running it."""
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
