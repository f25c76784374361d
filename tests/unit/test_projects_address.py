from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectsetup.projects.address import DatabaseAddress
from projectsetup.projects.errors import InvalidDatabaseUrl
from projectsetup.projects.record import ProjectRecord


@pytest.mark.parametrize(
    ("url", "shown", "user"),
    [
        ("postgresql://app:secret@127.0.0.1:5432/app", "PostgreSQL at 127.0.0.1:5432/app", "app"),
        ("postgres://app@db.example/app", "PostgreSQL at db.example:5432/app", "app"),
        (" postgresql://app:secret@db.example/app\n", "PostgreSQL at db.example:5432/app", "app"),
        ("postgresql://app:se%40cr%2Fet@[::1]:6000/app", "PostgreSQL at [::1]:6000/app", "app"),
        ("postgresql://app:secret@db.example", "PostgreSQL at db.example:5432/app", "app"),
        ("postgresql:///app?host=/run/postgresql&user=app", "PostgreSQL at /run/postgresql:5432/app", "app"),
        ("postgresql://app@one,two:6000/app", "PostgreSQL at one:5432,two:6000/app", "app"),
    ],
)
def test_what_is_shown_of_a_url(url: str, shown: str, user: str) -> None:
    address = DatabaseAddress.parse(url)
    assert str(address) == shown
    assert address.user == user
    assert "secret" not in repr(address)


def test_parameters_of_the_url_are_kept_and_win_over_the_defaults() -> None:
    url = "postgresql://app:secret@db.example/app?sslmode=verify-full&connect_timeout=2&options=-csearch_path%3Dsetup"
    parameters = DatabaseAddress.parse(url).parameters
    assert parameters["sslmode"] == "verify-full"
    assert parameters["options"] == "-csearch_path=setup"
    assert parameters["connect_timeout"] == "2"
    assert parameters["password"] == "secret"
    assert parameters["tcp_user_timeout"] == "10000"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "garbage",
        "mysql://app:secret@db.example/app",
        "postgresql+psycopg://app:secret@db.example/app",
        "postgresql:/db.example/app",
        "postgresql://",
        "postgresql:///app",
        "postgresql://app:secret@/app",
        "postgresql://app:secret@db.example:port/app",
        "postgresql://app:secret@db.example:70000/app",
        "postgresql://app:secret@db.example/app?secretmode=x",
        "postgresql://app:se%zzcret@db.example/app",
        "postgresql://app:se@cret@db.example/app",
        "postgresql://app:se/secret@db.example/app",
        "postgresql://app:5432/secret@db.example/app",
        "postgresql://app:secret@[::1/app",
        "postgresql://app:secret@db.example/a%0Asecret",
    ],
)
def test_a_bad_url_is_refused_in_one_line_that_does_not_show_it(url: str) -> None:
    with pytest.raises(InvalidDatabaseUrl) as caught:
        ProjectRecord.connect(url)
    assert str(caught.value).isprintable()
    assert "secret" not in str(caught.value)


@given(rest=st.text() | st.text(alphabet=st.sampled_from("ab:/@?&=%[],\0 \n1")))
def test_a_verdict_is_given_on_any_text(rest: str) -> None:
    try:
        address = DatabaseAddress.parse(f"postgresql://{rest}")
    except InvalidDatabaseUrl as exc:
        assert str(exc).isprintable()  # noqa: PT017 - most texts are refused, not all
    else:
        assert str(address).isprintable()
        assert address.parameters.get("host") or address.parameters.get("hostaddr")


@given(password=st.text(alphabet=st.characters(exclude_categories=["C"]), min_size=1), raw=st.booleans())
def test_no_password_is_ever_shown(password: str, raw: bool) -> None:
    marked = f"geheim{password}"
    url = f"postgresql://app:{marked if raw else quote(marked, safe='')}@db.example:5432/app"
    try:
        shown = str(DatabaseAddress.parse(url)) + repr(DatabaseAddress.parse(url))
    except InvalidDatabaseUrl as exc:
        shown = str(exc)
    assert "geheim" not in shown
