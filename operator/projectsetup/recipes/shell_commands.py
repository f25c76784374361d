"""The commands in a shell script, as far as words and separators show them."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    """The commands of a script, each a program and its arguments; none when the script cannot be read."""
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
    except ValueError:  # quotes that only a shell understands
        return
