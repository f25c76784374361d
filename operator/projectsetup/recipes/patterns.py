"""The patterns of `retry.output`: what Python's `re` and `grep -E` both understand, and in the same way.

The local engine searches with Python, the Job engine with grep in the pod. Both search lines of bytes in the C locale.
"""

from __future__ import annotations

import re
from typing import Final

_MOST_REPETITIONS: Final = 1000
"""More make some greps slow, or are refused by them."""

_CLASSES: Final = {r"\d": "0-9", r"\w": "[:alnum:]_", r"\s": "[:space:]"}
_ESCAPES: Final = {
    **{name: f"[{members}]" for name, members in _CLASSES.items()},
    **{name.upper(): f"[^{members}]" for name, members in _CLASSES.items()},
    r"\t": "\t",
    **{kept: kept for kept in (r"\b", r"\\", r"\^")},
}

_TOKEN: Final = re.compile(
    r"(?P<open>\((?:\?:|(?!\?)))|(?P<close>\))|(?P<or>\|)"
    r"|(?P<repeat>[*+?]|\{(?P<least>\d+)(?:,(?P<most>\d*))?\})(?![*+?])"
    r"|(?P<set>\[\^?\]?-?(?:[a-z]-[a-z]|[A-Z]-[A-Z]|[0-9]-[0-9]|\\[dwst!-,./:-@_`{-~]|[ -,./-Z^-~])*-?\])"
    r"|(?P<escape>\\[bdDsStwW!-/:-@[-`{-~ ])"
    r"|(?P<literal>[ -',->@-Z\]-z~]|[^\x00-\x7f\ud800-\udfff](?![*+?{]))"
)
_MEMBER: Final = re.compile(r"\\.|[A-Za-z](?:-[A-Za-z])?")
_EMPTY: Final = re.compile(r"(?:^|[(|])(?:[)|]|$)")

_REFUSED: Final = (
    (r"\(\?P?[=!<]", "look-around, back-references and named groups are", "( … ) around the text itself"),
    (r"\(", "options other than (?i) at the very beginning are", "(?i) at the beginning, ( … ) or (?: … ) for groups"),
    (r"[*+?]|\{\d+(?:,\d*)?\}", "lazy and possessive repetitions are", "*, +, ? or {n,m}"),
    (r"\{", "{ as a character, or without a least number, is", r"\{ or {0,n}"),
    (r"\}", "} as a character is", r"\}"),
    (r"\\[1-9]", "back-references are", "the text itself"),
    (r"\\[AZ]", r"\A and \Z are", "^ and $"),
    (r"\\[nr]", "line ends are", "a pattern for one line: each is searched by itself"),
    (r"\\", "this escape is", r"the character itself, or \d \w \s \D \W \S \b \t"),
    (r"\[", "this set is", r"] first, - last, ranges within a-z, A-Z and 0-9, no [ or \, only \d \w \s \t"),
    (r"[^\x00-\x7f]", "a repeated character beyond ASCII is", "( … ) around it"),
    (r"", "this character is", "a printable one"),
)


def posix_pattern(pattern: str) -> str:
    """The same pattern for `grep -E` in the C locale; `pattern` must be valid in Python.

    Raises ValueError, with one line for its author, if the two do not understand it alike.
    """
    ignore_case = pattern.startswith("(?i)")
    at = len("(?i)") if ignore_case else 0
    translated, groups, repetitions = "", "", 1
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None:
            raise ValueError(_refusal(pattern, at))
        at = token.end()
        translated += _translated(token, ignore_case=ignore_case)
        groups += translated[-1] if token["open"] or token["close"] or token["or"] else "x"
        repetitions *= max(int(token["most"] or token["least"] or 1), 1)
    if _EMPTY.search(groups):
        raise ValueError(f"{_shown(pattern)}: an empty alternative matches every line; remove it")
    if repetitions > _MOST_REPETITIONS:
        raise ValueError(
            f"{_shown(pattern)}: more than {_MOST_REPETITIONS} repetitions in all are not supported; write * or +"
        )
    return translated


def _translated(token: re.Match[str], *, ignore_case: bool) -> str:
    text = token[0]
    if token["open"]:
        return "("
    if token["escape"]:
        return _ESCAPES.get(text) or f"[{text[1]}]"
    if token["set"]:
        return text[0] + _MEMBER.sub(lambda member: _member(member[0], ignore_case=ignore_case), text[1:])
    return f"[{text}{text.swapcase()}]" if ignore_case and text.isascii() and text.isalpha() else text


def _member(text: str, *, ignore_case: bool) -> str:
    if text.startswith("\\"):
        return _CLASSES.get(text) or {r"\t": "\t"}.get(text) or text[1]
    return text + text.swapcase() if ignore_case else text


def _refusal(pattern: str, at: int) -> str:
    what, instead = next((what, instead) for form, what, instead in _REFUSED if re.match(form, pattern[at:]))
    return f"{_shown(pattern)}: {what} not supported (at {_shown(pattern[at : at + 10])}); write {instead}"


def _shown(pattern: str) -> str:
    return f"'{pattern}'" if pattern.isprintable() else repr(pattern)
