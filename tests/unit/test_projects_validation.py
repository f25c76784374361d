"""Which names, descriptions and repository URLs a project may have."""

from __future__ import annotations

import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectsetup.git_hosts import ANY_HOST, GitHosts
from projectsetup.projects.errors import InvalidProject
from projectsetup.projects.model import slug_of
from projectsetup.projects.validation import check_description, check_name, check_repository_url

ID = UUID("0a1b2c3d-0000-4000-8000-000000000000")


@given(name=st.text(), project_id=st.uuids())
def test_a_slug_is_a_package_name_whatever_the_name(name: str, project_id: UUID) -> None:
    slug = slug_of(name, project_id)
    assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", slug)
    assert len(slug) <= 40
    assert "--" not in slug
    assert slug == slug_of(name, project_id)


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
def test_any_printable_name_is_accepted(name: str) -> None:
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
def test_names_in_any_script_are_accepted(name: str) -> None:
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


REMOTE = [
    *(f"https://{rest}" for rest in ("github.com/acme/app.git", "github.com/acme/app", "[::1]:8443/a.git")),
    *(f"https://{login}dev.azure.com/org/project/_git/app" for login in ("", "org@")),
    "https://contoso-engineering-platform@dev.azure.com/contoso/app",
    *("https://bob@git.example/acme/app.git", "https://git.example:8443/a/b@v1"),
    *(f"ssh://git{rest}" for rest in ("@github.com/acme/app.git", "@git.example:7999/~acme/app.git")),
    *("ssh://git.example/srv/app.git", "https://git.example/$(id)/`x`;&|.git"),
    *(f"git@{rest}" for rest in ("github.com:acme/app.git", "[::1]:acme/app.git", "git.example:/srv/git/a:b@c.git")),
]
LISTED = GitHosts.parse("github.com dev.azure.com git.example [::1]")
LOCAL = ["file:///srv/git/app.git", "/srv/git/app.git", "/srv/with space/app.git"]
GITHUB_TOKEN = "ghp_0123456789abcdefABCDEF0123456789abcd"
AZURE_TOKEN = "q7x2mzkq7x2mzkq7x2mzkq7x2mzkq7x2mzk"
REFUSED = [
    *("", "-x", "--upload-pack=touch /tmp/pwned", "-u./payload", "-oProxyCommand=x@host:path"),
    *("ext::sh -c touch% /tmp/pwned", "ext::sh -c 'touch /tmp/pwned @'", "fd::17", "javascript:alert(1)"),
    *(f"{scheme}://github.com/acme/app" for scheme in ("http", "git", "ftp", "HTTPS")),
    *("github.com:acme/app", "relative/path", "../up", "git@[10.0.0.1:22]:acme/app.git"),
    *(f"https://{rest}" for rest in ("", "host", "host/", "host:0/a", "host:65536/a", "host:/a", "/a")),
    *(f"https://github.com/acme/{rest}" for rest in ("app?token=x", "app#x", "my app", "app\n", "%0aapp", "a\0b")),
    "https://github.com/acme/app\nhttps://evil.example/x",
    *(f"https://{login}@github.com/acme/app" for login in ("", "user:pass", ":pass", "github_pat_x", GITHUB_TOKEN)),
    *("https://glpat-abcdefgh@gitlab.com/acme/app", f"https://{AZURE_TOKEN}@dev.azure.com/acme/app"),
    *("ssh://git:pass@github.com/acme/app", "git:pass@github.com:acme/app"),
    *(f"ssh://{rest}" for rest in ("-oProxyCommand=x/", "-oProxyCommand=x/path", "%2DoProxyCommand=x/path")),
    *(f"ssh://{rest}" for rest in ("-oProxyCommand=x@host/path", "git@-oProxyCommand=x/path")),
    *(f"git@{rest}" for rest in ("-oProxyCommand=x:path", "host:-path", "host:", "host::path")),
    "https://host/" + "a" * 2048,
]


@pytest.mark.parametrize("url", REMOTE)
@pytest.mark.parametrize("allow_file", [True, False])
def test_remote_repositories_are_accepted(url: str, allow_file: bool) -> None:
    check_repository_url(url, allow_file=allow_file, hosts=LISTED)


@pytest.mark.parametrize("url", LOCAL)
def test_local_repositories_need_permission(url: str) -> None:
    check_repository_url(url, allow_file=True, hosts=ANY_HOST)
    with pytest.raises(InvalidProject, match="local path"):
        check_repository_url(url, allow_file=False, hosts=ANY_HOST)


@pytest.mark.parametrize(
    "url", [*REFUSED, "file://", "file://host/path", "file://-x/path", "file:/srv/x", "/", "file:///"]
)
@pytest.mark.parametrize("allow_file", [True, False])
def test_everything_else_is_refused_in_one_line(url: str, allow_file: bool) -> None:
    with pytest.raises(InvalidProject) as caught:
        check_repository_url(url, allow_file=allow_file, hosts=ANY_HOST)
    assert str(caught.value).isprintable()
    assert "pass@" not in str(caught.value)


@given(
    scheme=st.sampled_from(["https://", "ssh://", "ssh://git@", "git@", ""]),
    rest=st.text(alphabet=st.sampled_from("-:/@%.?#\n \0ab1")),
)
def test_no_accepted_url_is_an_option_or_a_helper_for_git(scheme: str, rest: str) -> None:
    url = scheme + rest
    try:
        check_repository_url(url, allow_file=False, hosts=ANY_HOST)
    except InvalidProject:
        return
    before_path, _, _ = url.removeprefix("https://").removeprefix("ssh://").partition("/")
    is_scp_like = not url.startswith(("https://", "ssh://"))
    user, at, host = (before_path.partition(":")[0] if is_scp_like else before_path).rpartition("@")
    assert url.isprintable()
    assert not url.startswith("-")
    assert not host.startswith("-")
    assert not (at and user.startswith("-"))
    assert "::" not in before_path
    assert ":" in before_path or not is_scp_like
    assert ":" not in user


@given(text=st.text())
def test_any_text_is_accepted_or_refused_in_one_line(text: str) -> None:
    try:
        check_repository_url(text, allow_file=False, hosts=ANY_HOST)
    except InvalidProject as exc:
        assert str(exc).isprintable()  # noqa: PT017 - most texts are refused, not all
    else:
        assert text.startswith(("https://", "ssh://")) or "@" in text
