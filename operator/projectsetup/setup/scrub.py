"""Takes secrets out of everything that leaves a step: messages and log lines."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MASK: Final = "***"
SHORTEST_SECRET: Final = 4
"""Shorter values are in every text by chance; they are no secrets to be hidden."""

_SHORTEST_BASE64: Final = 8

_SHAPES: Final = (
    (
        "private key-----",
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)",
        MASK,
    ),
    ("://", r"(://[^\s/@:]*):[^\s/]*@", rf"\1:{MASK}@"),
    ("://", r"(?i)(https?://)[^\s/@:]{16,}@", rf"\1{MASK}@"),
    ("authorization", r"(?i)(authorization[\"']?\s*[:=]).*", rf"\1 {MASK}"),
    ("bearer ", r"\b(?i:(bearer)) +(?=[^\s]*[0-9A-Z=])[A-Za-z0-9._~+/-]{8,}=*", rf"\1 {MASK}"),
    ("basic ", r"\b(?i:(basic)) +(?=[^\s]*[0-9A-Z=])[A-Za-z0-9._~+/-]{8,}=*", rf"\1 {MASK}"),
    ("=", r"(?i)(password|passwd|secret|token|api_?key)=[^\s&;,\"']+", rf"\1={MASK}"),
    ("gh", r"\bgh[opusr]_[A-Za-z0-9]{16,}", MASK),
    ("github_pat_", r"\bgithub_pat_[A-Za-z0-9_]{16,}", MASK),
    ("gl", r"\bgl[a-z]{2,4}-[A-Za-z0-9_-]{16,}", MASK),
    ("akia", r"\bAKIA[A-Z0-9]{16}\b", MASK),
    ("asia", r"\bASIA[A-Z0-9]{16}\b", MASK),
    ("xox", r"\bxox[a-z]-[A-Za-z0-9-]{10,}", MASK),
    ("npm_", r"\bnpm_[A-Za-z0-9]{20,}", MASK),
    ("pypi-", r"\bpypi-[A-Za-z0-9_-]{20,}", MASK),
    ("sk-", r"\bsk-[A-Za-z0-9_-]{20,}", MASK),
    ("eyj", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*", MASK),
)
"""What is in every text of that shape, in lower case; the shape; what takes its place.

None takes long on a text of bounded length, whatever it is: it comes from processes that nobody trusts.
"""


class Scrubber:
    """Replaces known secrets, in the forms in which they travel, and whatever has the shape of one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """`secrets`: values to hide; of one with several lines, every line."""
        lines = {line for secret in secrets for line in (secret, *secret.splitlines())}
        known = {form for line in lines if len(line.strip()) >= SHORTEST_SECRET for form in _forms(line)}
        self._known = sorted(known, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, self._known))) if self._known else None
        self._shapes = [(clue, re.compile(shape), mask) for clue, shape, mask in _SHAPES]

    def scrub(self, text: str) -> str:
        """The text with `***` in place of every secret."""
        if self._secrets is not None:
            text = self._secrets.sub(MASK, text)
        lowered = text.lower()
        for clue, shape, mask in self._shapes:
            if clue in lowered:
                text = shape.sub(mask, text)
        return text

    def scrub_cut(self, text: str) -> str:
        """`scrub` for a text that was cut somewhere: the beginning of a secret at its end is hidden too."""
        for form in self._known:
            for length in range(min(len(form) - 1, len(text)), SHORTEST_SECRET - 1, -1):
                if text.endswith(form[:length]):
                    return self.scrub(text[:-length]) + MASK
        return self.scrub(text)


def _forms(secret: str) -> Iterator[str]:
    bare = secret.strip()
    yield from (secret, bare)
    for quoted in (quote(bare, safe=""), quote(bare), quote_plus(bare)):
        yield from (quoted, re.sub("%..", lambda escape: escape[0].lower(), quoted))
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        for offset in range(3):
            form = _within_base64(bare.encode("utf-8", "surrogateescape"), offset, alphabet)
            if len(form) >= _SHORTEST_BASE64:
                yield form


def _within_base64(secret: bytes, offset: int, encode: Callable[[bytes], bytes]) -> str:
    """The part that the base64 form of every text shares in which the secret stands at `offset`, modulo 3."""
    encoded = encode(bytes(offset) + secret).decode()
    first_bit, last_bit = 8 * offset, 8 * (offset + len(secret))
    return encoded[-(-first_bit // 6) : last_bit // 6]
