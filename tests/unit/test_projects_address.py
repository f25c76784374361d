from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from projectsetup.projects.address import DatabaseAddress, Protection
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
def test_a_url_is_shown_without_its_password(url: str, shown: str, user: str) -> None:
    address = DatabaseAddress.parse(url)
    assert str(address) == shown
    assert address.user == user
    assert "secret" not in repr(address)


def test_parameters_of_the_url_override_the_defaults() -> None:
    url = "postgresql://app:secret@db.example/app?sslmode=verify-full&connect_timeout=2&options=-csearch_path%3Dsetup"
    given = {"sslmode": "verify-full", "options": "-csearch_path=setup", "connect_timeout": "2", "password": "secret"}
    assert (given | {"tcp_user_timeout": "10000"}).items() <= DatabaseAddress.parse(url).parameters.items()


@pytest.mark.parametrize(
    "url",
    [
        *("", "garbage", "postgresql://", "postgresql:///app", "postgresql:/db.example/app"),
        *("mysql://app:secret@db.example/app", "postgresql+psycopg://app:secret@db.example/app"),
        *(f"postgresql://app:secret@{rest}" for rest in ("/app", "db.example:port/app", "db.example:70000/app")),
        *(f"postgresql://app:secret@{rest}" for rest in ("[::1/app", "db.example/a%0Asecret")),
        *(f"postgresql://app@db.example/app?password=a&{rest}" for rest in ("secret=x", "secret")),
        "postgresql://app:secret@db.example/app?sslmode=secret",
        *(f"postgresql://app:{rest}@db.example/app" for rest in ("se%zzcret", "se@cret", "se/secret", "5432/secret")),
    ],
)
def test_an_invalid_url_is_refused_in_one_line_without_it(url: str) -> None:
    with pytest.raises(InvalidDatabaseUrl) as caught:
        ProjectRecord.connect(url)
    assert str(caught.value).isprintable()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("schema=public", "the database URL has an unknown parameter: schema; remove it"),
        ("pgbouncer=true", "the database URL has an unknown parameter: pgbouncer; remove it"),
        ("sslmode", "parameter sslmode of the database URL must be written sslmode=VALUE"),
        ("sslmode=disabled", "sslmode{} must be disable, allow, prefer, require, verify-ca or verify-full"),
        ("target_session_attrs=rw", "target_session_attrs{} must be any, read-write, read-only, primary, standby"),
        ("ssl_min_protocol_version=9", "ssl_min_protocol_version{} has an unknown value"),
        ("channel_binding=x", "channel_binding{} has an unknown value"),
        ("connect_timeout=abc", "connect_timeout{} must be a number"),
        ("connect_timeout=-1", "connect_timeout{} must be a number"),
        ("tcp_user_timeout=10s", "tcp_user_timeout{} must be a number"),
        ("keepalives=on", "keepalives{} must be a number"),
        ("port=70000", "the port{} must be a number from 1 to 65535"),
        (f"port={'1' * 5000}", "the port{} must be a number from 1 to 65535"),
        (f"connect_timeout={'1' * 5000}", "connect_timeout{} must be a number"),
        ("sslrootcert=/nowhere/ca.pem", "sslrootcert{} names a file that is missing or unreadable"),
        ("sslkey=/nowhere/key", "sslkey{} names a file that is missing or unreadable"),
        ("sslrootcert=system&sslmode=require", 'the parameters{} cannot be used: weak sslmode "require" may not be'),
        ("hostaddr=10.0.0.1,10.0.0.2", "the database URL must have one hostaddr for each host"),
        ("service=nowhere", "the parameters{} cannot be used: "),
    ],
)
def test_a_bad_parameter_is_named(query: str, problem: str) -> None:
    with pytest.raises(InvalidDatabaseUrl) as caught:
        DatabaseAddress.parse(f"postgresql://app:secret@db.example/app?{query}")
    assert str(caught.value).startswith(problem.format(" of the database URL"))


def test_several_hosts_default_to_the_writable_one() -> None:
    url = "postgresql://app@one,two/app"
    assert DatabaseAddress.parse(url).parameters["target_session_attrs"] == "read-write"
    assert DatabaseAddress.parse(f"{url}?target_session_attrs=any").parameters["target_session_attrs"] == "any"
    assert "target_session_attrs" not in DatabaseAddress.parse("postgresql://app@one/app").parameters


UNPROTECTED = "sslmode=disable sslmode=allow sslmode=prefer"
ENCRYPTED = "sslmode=require ssl=true sslmode=verify-ca"
VERIFIED = "sslmode=verify-full sslrootcert=system gssencmode=require"


@pytest.mark.parametrize(
    ("url", "protection"),
    [
        *((f"postgresql://app@db.example/app?{query}", Protection.NONE) for query in UNPROTECTED.split()),
        *((f"postgresql://app@db.example/app?{query}", Protection.ENCRYPTED) for query in ENCRYPTED.split()),
        *((f"postgresql://app@db.example/app?{query}", Protection.VERIFIED) for query in VERIFIED.split()),
        *((f"postgresql://app@{host}/app", Protection.LOCAL) for host in ("127.0.0.1", "[::1]", "localhost")),
        ("postgresql://app@db.example/app", Protection.NONE),
        ("postgresql:///app?host=/run/postgresql", Protection.LOCAL),
        ("postgresql://app@db.example/app?hostaddr=127.0.0.2", Protection.LOCAL),
        ("postgresql://app@localhost/app?hostaddr=10.0.0.1", Protection.NONE),
        ("postgresql://app@localhost,db.example/app", Protection.NONE),
        ("postgresql://app@localhost.example/app", Protection.NONE),
    ],
)
def test_how_the_connection_is_protected(url: str, protection: Protection) -> None:
    address = DatabaseAddress.parse(url)
    assert address.protection is protection
    assert (address.warning is not None) is (protection in {Protection.NONE, Protection.ENCRYPTED})
    assert "sslmode=verify-full" in (address.warning or "sslmode=verify-full")


def test_protection_considers_the_environment_of_libpq(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    url = "postgresql://app@db.example/app"
    assert DatabaseAddress.parse(url).protection is Protection.VERIFIED
    assert DatabaseAddress.parse(f"{url}?sslmode=prefer").protection is Protection.NONE


@given(rest=st.text() | st.text(alphabet=st.sampled_from("ab:/@?&=%[],\0 \n1")))
@example(rest="%80")
def test_any_text_is_accepted_or_refused_in_one_line(rest: str) -> None:
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
