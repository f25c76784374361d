from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectsetup.git_hosts import ANY_HOST, GitHosts
from projectsetup.projects.errors import InvalidProject
from projectsetup.projects.validation import check_repository_url

REMOTE = [
    "https://github.com/acme/app.git",
    "https://github.com/acme/app",
    "https://dev.azure.com/org/project/_git/app",
    "https://org@dev.azure.com/org/project/_git/app",
    "https://contoso-engineering-platform@dev.azure.com/contoso/app",
    "https://bob@git.example/acme/app.git",
    "https://git.example:8443/a/b@v1",
    "https://[::1]:8443/a.git",
    "ssh://git@github.com/acme/app.git",
    "ssh://git@git.example:7999/~acme/app.git",
    "ssh://git.example/srv/app.git",
    "git@github.com:acme/app.git",
    "git@[::1]:acme/app.git",
    "git@git.example:/srv/git/a:b@c.git",
    "https://git.example/$(id)/`x`;&|.git",
]
LISTED = GitHosts.parse("github.com dev.azure.com git.example [::1]")
LOCAL = ["file:///srv/git/app.git", "/srv/git/app.git", "/srv/with space/app.git"]
REFUSED = [
    "",
    "-x",
    "--upload-pack=touch /tmp/pwned",
    "-u./payload",
    "ext::sh -c touch% /tmp/pwned",
    "ext::sh -c 'touch /tmp/pwned @'",
    "fd::17",
    "http://github.com/acme/app",
    "git://github.com/acme/app",
    "ftp://github.com/acme/app",
    "HTTPS://github.com/acme/app",
    "javascript:alert(1)",
    "github.com:acme/app",
    "relative/path",
    "../up",
    "https://",
    "https://host",
    "https://host/",
    "https://host:0/a",
    "https://host:65536/a",
    "https://host:/a",
    "https:///a",
    "https://github.com/acme/app?token=x",
    "https://github.com/acme/app#x",
    "https://github.com/acme/my app",
    "https://github.com/acme/app\nhttps://evil.example/x",
    "https://github.com/acme/app\n",
    "https://github.com/acme/%0aapp",
    "https://github.com/acme/a\0b",
    "https://user:pass@github.com/acme/app",
    "https://github_pat_x@github.com/acme/app",
    "https://glpat-abcdefgh@gitlab.com/acme/app",
    "https://q7x2mzkq7x2mzkq7x2mzkq7x2mzkq7x2mzk@dev.azure.com/acme/app",
    "https://ghp_0123456789abcdefABCDEF0123456789abcd@github.com/acme/app",
    "https://@github.com/acme/app",
    "git@[10.0.0.1:22]:acme/app.git",
    "https://:pass@github.com/acme/app",
    "ssh://git:pass@github.com/acme/app",
    "git:pass@github.com:acme/app",
    "ssh://-oProxyCommand=x/",
    "ssh://-oProxyCommand=x/path",
    "ssh://%2DoProxyCommand=x/path",
    "ssh://-oProxyCommand=x@host/path",
    "ssh://git@-oProxyCommand=x/path",
    "-oProxyCommand=x@host:path",
    "git@-oProxyCommand=x:path",
    "git@host:-path",
    "git@host:",
    "git@host::path",
    "https://host/" + "a" * 2048,
]


@pytest.mark.parametrize("url", REMOTE)
@pytest.mark.parametrize("allow_file", [True, False])
def test_remote_repositories_are_accepted(url: str, allow_file: bool) -> None:
    check_repository_url(url, allow_file=allow_file, hosts=LISTED)


@pytest.mark.parametrize("url", LOCAL)
def test_files_only_where_they_are_allowed(url: str) -> None:
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
def test_nothing_git_could_take_for_an_option_or_a_helper_passes(scheme: str, rest: str) -> None:
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
def test_a_verdict_is_given_on_any_text(text: str) -> None:
    try:
        check_repository_url(text, allow_file=False, hosts=ANY_HOST)
    except InvalidProject as exc:
        assert str(exc).isprintable()  # noqa: PT017 - most texts are refused, not all
    else:
        assert text.startswith(("https://", "ssh://")) or "@" in text
