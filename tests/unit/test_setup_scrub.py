"""Secrets are hidden in every common encoding; ordinary text is unchanged."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import shlex
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from projectsetup.setup.scrub import MASK, Scrubber

TEXT = st.text(alphabet=st.characters(exclude_characters="*", exclude_categories=["Cs"]), max_size=80)
SECRET = st.text(
    alphabet=st.characters(exclude_characters="*", exclude_categories=["Cs", "Cc", "Z"]), min_size=4, max_size=60
)


@given(secret=SECRET, before=TEXT, after=TEXT)
@example(secret="a+b/c==d%&", before="https://x?", after="&y")
def test_a_secret_never_gets_through(secret: str, before: str, after: str) -> None:
    scrubber = Scrubber([secret])
    for form in (secret, quote(secret, safe=""), quote(secret), quote_plus(secret)):
        assert form not in scrubber.scrub(f"{before}{form}{after}")


def shell_escaped(text: str) -> str:
    return "".join(f"\\{character}" if not character.isalnum() else character for character in text)


ESCAPED: dict[str, Callable[[str], str]] = {
    "JSON": json.dumps,
    "JSON as it is": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "JSON with slashes": lambda text: json.dumps(text).replace("/", "\\/"),
    "HTML": html.escape,
    "HTML by number": lambda text: "".join(f"&#{ord(character)};" for character in text),
    "HTML by hexadecimal number": lambda text: "".join(f"&#x{ord(character):X};" for character in text),
    "sh": shlex.quote,
    "sh with backslashes": shell_escaped,
    "Python": repr,
    "C": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "octal": lambda text: "".join(f"\\{byte:03o}" if byte > 127 else chr(byte) for byte in text.encode()),
    "URL": lambda text: quote(text, safe=""),
    "URL twice": lambda text: quote(quote(text, safe=""), safe=""),
    "URL, everything": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "hexadecimal": lambda text: text.encode().hex(),
    "HEXADECIMAL": lambda text: text.encode().hex().upper(),
    "hexadecimal with colons": lambda text: text.encode().hex(":"),
    "hexadecimal numbers": lambda text: ", ".join(f"0x{byte:02x}" for byte in text.encode()),
}


@pytest.mark.parametrize("form", ESCAPED)
@given(
    secret=SECRET.filter(lambda text: text.isprintable() and len(text.encode()) >= 8 and not set(text) & set("&%\\;")),
    before=TEXT,
    after=TEXT,
)
@example(secret="p's\"w/o<r>d&42;", before="x", after="y")
def test_a_secret_is_hidden_in_every_escape(form: str, secret: str, before: str, after: str) -> None:
    written = ESCAPED[form](secret)
    assert written not in Scrubber([secret]).scrub(f"{before} {written} {after}")


TOKEN = "ghp_0123456789abcdefABCDEFghijklmnopqrst"
KEY_LINES = [base64.b64encode(hashlib.sha512(str(number).encode()).digest()[:51]).decode() for number in range(20)]
KEY = "\n".join(["-----BEGIN OPENSSH PRIVATE KEY-----", *KEY_LINES, "-----END OPENSSH PRIVATE KEY-----"])


@pytest.mark.parametrize("before", range(60))
def test_a_wrapped_secret_is_hidden_on_all_its_lines(before: int) -> None:
    secret = f"user:{TOKEN}"
    for encoded in (base64.encodebytes(b"x" * before + secret.encode() + b"y" * 30), f"{secret}  {secret}".encode()):
        for width in (20, 60, 76):
            flat = (b"z" * before + encoded).replace(b"\n", b"").decode()
            wrapped = "\n".join(flat[at : at + width] for at in range(0, len(flat), width))
            scrubbed = Scrubber([TOKEN]).scrub(wrapped)
            assert scrubbed.count("\n") == wrapped.count("\n")
            for at in range(len(TOKEN) - 5):
                assert TOKEN[at : at + 6] not in scrubbed.replace("\n", "")
            for at in range(len(before_of(flat)) - 8):
                assert before_of(flat)[at : at + 8] not in scrubbed.replace("\n", "")


def before_of(flat: str) -> str:
    """The base64 of the token in this text, empty when it stands there as it is."""
    found = [form for at in range(3) if (form := base64.b64encode(b"-" * at + TOKEN.encode()).decode()[4:-4]) in flat]
    return found[0] if found else ""


@pytest.mark.parametrize("width", [30, 64, 76, 1000])
def test_a_key_is_hidden_however_it_is_wrapped(width: int) -> None:
    flat = "".join(KEY_LINES)
    wrapped = "\n".join(flat[at : at + width] for at in range(0, len(flat), width))
    assert set(Scrubber([KEY]).scrub(wrapped)) <= {*MASK, "\n", "+", "/"}
    for line in KEY_LINES:
        assert Scrubber([KEY]).scrub(line).strip("+/") == Scrubber([KEY]).scrub(line.encode().hex(" ")) == MASK


def test_a_cut_text_shows_neither_beginning_nor_end_of_a_secret() -> None:
    scrubber = Scrubber([TOKEN])
    for kept in range(4, len(TOKEN)):
        assert scrubber.scrub_cut(f"a {TOKEN[:kept]}") == f"a {MASK}"
        assert scrubber.scrub_cut(f"{TOKEN[-kept:]} b").lstrip("_") == f"{MASK} b"
        assert scrubber.scrub_cut(f"{TOKEN[-kept:]} b {TOKEN[:kept]}").lstrip("_") == f"{MASK} b {MASK}"


ORDINARY = "production database 7Kq, ghp_0123; an OPENSSH PRIVATE KEY must begin with -----BEGIN"


@pytest.mark.parametrize(
    "text",
    ["\\" * 65536, "%41" * 20000, "&#x41;" * 10000, "'\"'\"'" * 13000, "0x41," * 13000, TOKEN * 1600, "a" * 65536],
)
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    Scrubber([TOKEN, KEY, "hunter22"]).scrub(text)
    assert time.process_time() - began < 2


@given(secret=st.binary(min_size=6, max_size=40).map(lambda raw: raw.hex()), before=st.binary(max_size=5))
def test_base64_of_a_text_with_a_secret_is_hidden(secret: str, before: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(before + secret.encode() + b" after").decode()
        scrubbed = Scrubber([secret]).scrub(encoded)
        assert MASK in scrubbed
        assert len(scrubbed) <= len(encoded) - len(secret) * 4 // 3 + len(MASK) + 2


@given(TEXT)
def test_scrubbing_is_idempotent(text: str) -> None:
    scrubber = Scrubber(["hunter2!", "s3cr3t/+"])
    once = scrubber.scrub(text)
    assert scrubber.scrub(once) == once


@pytest.mark.parametrize(
    ("secrets", "text", "scrubbed"),
    [
        (["-----BEGIN KEY-----\nAAAABBBB\nCCCCDDDD\n-----END KEY-----\n"], "x AAAABBBB y\nCCCCDDDD", "x *** y\n***"),
        (["", "a", "abc", "   x  "], "abc a x", "abc a x"),
        (["pass", "password123"], "password123 pass", "*** ***"),
        (["production-db-x7Kq", TOKEN, KEY], ORDINARY, ORDINARY),
    ],
    ids=["many lines", "shorter than four characters", "one contains another", "words that it shares with a text"],
)
def test_several_secrets(secrets: list[str], text: str, scrubbed: str) -> None:
    assert Scrubber(secrets).scrub(text) == scrubbed


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("fatal: https://bob:pa:ss@w0rd@host/x failed", "fatal: https://bob:***@host/x failed"),
        ("postgresql://app:pw@db:5432/x", "postgresql://app:***@db:5432/x"),
        ("https://0123456789abcdef0123@host/x", "https://***@host/x"),
        ("> Authorization: Basic Ym9iOnB3", "> Authorization: ***"),
        ("'authorization': 'token x'", "'authorization': ***"),
        ("sent bearer abcDEF123456==", "sent bearer ***"),
        ("GET /x?access_token=abc&y=1", "GET /x?access_token=***&y=1"),
        ("DB_PASSWORD=swordfish make", "DB_PASSWORD=*** make"),
        ("ghp_0123456789abcdefABCDEF0123456789abcd!", "***!"),
        ("github_pat_11ABCDEFG0123456789_abcdef", "***"),
        ("glpat-abcdefghij0123456789", "***"),
        ("key AKIAIOSFODNN7EXAMPLE", "key ***"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-_1", "***"),
        ("a -----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- b", "a *** b"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", "***"),
    ],
)
def test_text_in_the_shape_of_a_secret_is_hidden(text: str, scrubbed: str) -> None:
    assert Scrubber().scrub(text) == scrubbed


@pytest.mark.parametrize(
    "text",
    [
        "error: unexpected token: ')'",
        "git@github.com:me/project.git",
        "ssh://git@host/x and https://git@host/y",
        "12:30 @home, http://localhost:8080/a@b",
        "basic authentication is required, bearer of news",
        "the password is wrong",
        "a1b2c3d4e5f60718293a4b5c6d7e8f9012345678",
        "task-skills sk-short npm_x",
    ],
)
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert Scrubber(["hunter2"]).scrub(text) == text
