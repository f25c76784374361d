from __future__ import annotations

import re
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectsetup.projects.errors import InvalidProject
from projectsetup.projects.model import slug_of
from projectsetup.projects.validation import check_description, check_name

ID = UUID("0a1b2c3d-0000-4000-8000-000000000000")


@given(name=st.text(), project_id=st.uuids())
def test_a_slug_is_a_package_name_whatever_the_name(name: str, project_id: UUID) -> None:
    slug = slug_of(name, project_id)
    assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", slug)
    assert len(slug) <= 40
    assert "--" not in slug
    assert slug == slug_of(name, project_id)


@given(name=st.from_regex(r"[a-z]([a-z0-9]|-(?=[a-z0-9])){0,38}", fullmatch=True))
def test_a_name_that_is_a_slug_stays_as_it_is(name: str) -> None:
    assert slug_of(name, uuid4()) == name


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Code My Spec", "code-my-spec"),
        ("  Zürich -- Café ", "zurich-cafe"),
        ("Straße", "strasse"),
        ("3D printer", "project-3d-printer"),
        ("$(rm -rf /); `id` && a|b", "rm-rf-id-a-b"),
        ("Проект", "project-0a1b2c3d"),
        ("!!!", "project-0a1b2c3d"),
        ("a" * 39 + " b", "a" * 39),
        ("7" * 100, "project-" + "7" * 32),
    ],
)
def test_slugs(name: str, slug: str) -> None:
    assert slug_of(name, ID) == slug


@pytest.mark.parametrize(
    "name", ["x", "n" * 100, "$(rm -rf /) `id` ; & | > < ' \" \\ * ? ~ # % {a,b}", "-rf", "日本語", "naïve 🚀"]
)
def test_any_printable_name_will_do(name: str) -> None:
    assert check_name(f"  {name}\n") == name


@pytest.mark.parametrize(
    "name",
    [
        "می\u200cشود",  # Persian, with a zero width non-joiner
        "क्\u200dष",  # Hindi, with a zero width joiner
        "family 👩\u200d👩\u200d👧",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "Prix\u00a0: 5\u202f€",
        "שלום\u200f!",
        "soft\u00adhyphen",
        "an emoji of the next Unicode: \U0001faea",
        "\ue000",
    ],
)
def test_what_people_write_is_a_name(name: str) -> None:
    assert check_name(name) == name
    assert check_description(name) == name


def test_one_name_has_one_spelling() -> None:
    composed = "Caf\u00e9"
    assert check_name("Cafe\u0301") == check_name(composed) == composed
    assert check_description("Cafe\u0301") == composed
    assert check_name("\ufeffApp ") == "App"
    assert check_name("e\u0301" * 100) == "é" * 100


@pytest.mark.parametrize(
    "name",
    [
        *("", " \t\n", "n" * 101, "a\nb", "a\0b", "a\x1b[31mb", "a\x85b", "a\u2028b", "a\udc80b"),
        *("\u200b", "\u00ad \u200d", "\ufeff"),
        *(f"a{chr(code)}b" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))),
    ],
)
def test_a_bad_name_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(InvalidProject, match=r"\Athe name .+\Z") as caught:
        check_name(name)
    assert str(caught.value).isprintable()


def test_a_description_may_have_lines_but_no_control_characters() -> None:
    assert check_description(" one\n\ttwo ") == "one\n\ttwo"
    assert check_description("") == ""
    assert check_description("one\r\ntwo\rthree\u2028four\u2029five") == "one\ntwo\nthree\nfour\nfive"
    for bad in ("a\0b", "a\x07b", "a\u202eb", "a\u2066b", "d" * 10_001):
        with pytest.raises(InvalidProject, match="description"):
            check_description(bad)
