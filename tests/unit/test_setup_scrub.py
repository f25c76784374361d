"""No secret gets through, whatever form it travels in, and ordinary text does."""

from __future__ import annotations

import base64
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


@given(secret=st.binary(min_size=6, max_size=40).map(lambda raw: raw.hex()), before=st.binary(max_size=5))
def test_base64_of_a_text_that_holds_a_secret_tells_nothing(secret: str, before: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(before + secret.encode() + b" after").decode()
        scrubbed = Scrubber([secret]).scrub(encoded)
        assert MASK in scrubbed
        assert len(scrubbed) <= len(encoded) - len(secret) * 4 // 3 + len(MASK) + 2


@given(TEXT)
def test_scrubbing_twice_changes_nothing_more(text: str) -> None:
    scrubber = Scrubber(["hunter2!", "s3cr3t/+"])
    once = scrubber.scrub(text)
    assert scrubber.scrub(once) == once


@given(secret=SECRET.filter(lambda text: len(text) >= 8), before=TEXT, kept=st.integers(min_value=4, max_value=7))
def test_a_line_that_is_cut_within_a_secret_does_not_end_with_its_beginning(
    secret: str, before: str, kept: int
) -> None:
    scrubbed = Scrubber([secret]).scrub_cut(before + secret[:kept])
    assert not scrubbed.endswith(secret[:kept])


def test_every_line_of_a_secret_with_several_is_hidden() -> None:
    key = "-----BEGIN KEY-----\nAAAABBBB\nCCCCDDDD\n-----END KEY-----\n"
    assert Scrubber([key]).scrub("x AAAABBBB y\nCCCCDDDD") == f"x {MASK} y\n{MASK}"


def test_values_of_less_than_four_characters_are_no_secrets() -> None:
    assert Scrubber(["", "a", "abc", "   x  "]).scrub("abc a x") == "abc a x"


def test_a_long_secret_is_hidden_whole_though_a_part_of_it_is_one_too() -> None:
    assert Scrubber(["pass", "password123"]).scrub("password123 pass") == f"{MASK} {MASK}"


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
def test_what_has_the_shape_of_a_secret_is_hidden(text: str, scrubbed: str) -> None:
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
def test_ordinary_text_stays(text: str) -> None:
    assert Scrubber(["hunter2"]).scrub(text) == text
