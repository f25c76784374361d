"""The patterns of recipes: those of parameters, and those of `retry.output`.

RE2 searches for both. Its time grows with the length of the text only, whereas Python's `re` can take hours for a short
value or line, and would stop the whole operator meanwhile.

The patterns of `retry.output` are the subset that `grep -E` understands in the same way: the Job engine searches with
grep in the pod, the local engine with RE2 for the translated pattern. Both search lines of bytes in the C locale.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import re2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


def line_search(patterns: Sequence[str]) -> Callable[[bytes], bool]:
    """Searches a line for any of these patterns of `retry.output`. Raises ValueError as `posix_pattern` does."""
    expression = _compiled(posix_alternatives(patterns).encode(), re2.Options.Encoding.LATIN1)
    return lambda line: expression.search(line) is not None


def is_output_pattern(pattern: str) -> bool:
    """Whether lines can be searched for this pattern of `retry.output`."""
    try:
        line_search([pattern])
    except ValueError:
        return False
    return True


def posix_alternatives(patterns: Sequence[str]) -> str:
    """All patterns of `retry.output` as one for `grep -E`; empty if there are none. Raises ValueError."""
    return "|".join(f"({posix_pattern(pattern)})" for pattern in patterns)


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


_LESS_THAN: Final = re.compile(r"(?<!\\)\{,\d+\}")
_RE2_LACKS: Final = (
    (r"\(\?<?[=!]", "look-around is not supported; use several patterns with |, or check the value in a step"),
    (r"\(\?P|\\[1-9]", "back-references are not supported"),
    (r"\(\?[aLux]", "of the options only (?i), (?m) and (?s) are supported"),
    (r"\\[uU]", r"write \x{20AC} for a character by its number"),
    (r"\\Z", "write $"),
)
"""By the part that RE2 refuses: what to do about it."""


def value_match(pattern: str) -> Callable[[str], bool]:
    """Whether a whole value matches the pattern of a parameter. Raises ValueError if RE2 refuses the pattern."""
    if _LESS_THAN.search(pattern):
        raise ValueError("must name the least number of repetitions: write {0,n} for {,n}")
    expression = _compiled(pattern.encode(), re2.Options.Encoding.UTF8)
    return lambda value: expression.fullmatch(value.encode(errors="surrogatepass")) is not None


def _compiled(pattern: bytes, encoding: object) -> re2._Regexp:
    options = re2.Options()
    options.encoding, options.never_capture, options.log_errors = encoding, True, False
    try:
        return re2.compile(pattern, options)
    except re2.error as exc:
        what = exc.args[0].decode(errors="replace")
        part = what.partition(": ")[2]
        advice = next((f" ({advice})" for form, advice in _RE2_LACKS if re.match(form, part)), "")
        raise ValueError(f"must be a regular expression of RE2: {what}{advice}") from exc
