"""Which hosts repositories may be on, however an address is spelled."""

from __future__ import annotations

import pytest

from projectsetup.git_hosts import ANY_HOST, GitHost, GitHosts, InvalidHosts, host_of

INTERNAL = """
0.0.0.0 0 169.254.169.254 2852039166 0xa9fea9fe 0251.0376.0251.0376 100.100.100.200 168.63.129.16 192.0.0.192 224.0.0.1
[::] [fe80::1] [fd00:ec2::254] [::ffff:a9fe:a9fe] [2002:a9fe:a9fe::] [64:ff9b::169.254.169.254]
kubernetes.default.svc kubernetes.default.svc.cluster.local 10-0-0-1.team-b.pod.cluster.local
METADATA.google.internal metadata.goog
"""
PRIVATE = """
127.0.0.1 127.1 2130706433 0x7f000001 0x7f.0.0.1 0177.0.0.01 10.96.0.1 172.16.0.1 192.168.0.1
[::1] [0:0:0:0:0:0:0:1] [fc00::1] [fec0::1] [::ffff:127.0.0.1] [::127.0.0.1] [2002:7f00:1::]
localhost LOCALHOST sub.localhost git kubernetes
"""
PUBLIC = """
github.com git.company.example local.example internal.example git.company.internal cluster.local.example
140.82.121.3 172.15.0.1 [2606:50c0:8000::64]
"""


@pytest.mark.parametrize("name", INTERNAL.split())
def test_internal_hosts_are_refused_unless_they_are_listed(name: str) -> None:
    for url, port in ((f"https://{name}/a.git", 443), (f"ssh://git@{name}:2222/a.git", 2222), (f"git@{name}:a", 22)):
        host = host_of(url)
        assert host is not None
        assert host.port == port
        assert "internal" in (ANY_HOST.objection(host) or "")
        assert "not one of the hosts" in (GitHosts.parse("github.com").objection(host) or "")
        assert GitHosts.parse(name).objection(host) is None
        assert GitHosts.parse(f"github.com,{name}:{port}").objection(host) is None
        assert GitHosts.parse(f"{name}:{port + 1}").objection(host) is not None


@pytest.mark.parametrize("name", PRIVATE.split())
def test_private_hosts_are_refused_only_in_a_pod(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_of(f"https://{name}/a.git")
    assert host is not None
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert GitHosts.configured().objection(host) is None
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert "internal" in (GitHosts.configured().objection(host) or "")
    assert GitHosts.configured(name).objection(host) is None


@pytest.mark.parametrize("name", PUBLIC.split())
def test_other_hosts_are_accepted_unless_a_list_excludes_them(name: str) -> None:
    host = host_of(f"https://{name}/a.git")
    assert host is not None
    assert GitHosts(refuses_private=True).objection(host) is None
    assert "not one of the hosts in PROJECTSETUP_GIT_HOSTS" in (GitHosts.parse("git.example.com").objection(host) or "")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://GitHub.com/a", GitHost("github.com", 443)),
        ("https://github.com:8443/a", GitHost("github.com", 8443)),
        ("ssh://git@github.com/a", GitHost("github.com", 22)),
        ("git@github.com:22/a", GitHost("github.com", 22)),
        ("git@[::1]:a", GitHost("::1", 22)),
        ("https://0x7F.1/a", GitHost("127.0.0.1", 443)),
        ("git@github.com:a://b", GitHost("github.com", 22)),
        ("/srv/a.git", None),
        ("file:///srv/a.git", None),
    ],
)
def test_the_host_of_a_url(url: str, host: GitHost | None) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize("url", ["git@[10.0.0.1:22]:a", "git@[abc:22]:a", "https://[abc:22]/a"])
def test_brackets_around_anything_but_an_address_are_refused(url: str) -> None:
    with pytest.raises(InvalidHosts):
        host_of(url)


def test_lists_of_hosts() -> None:
    listed = GitHosts.parse("github.com, git.example:8443\n[::1]:22  Git.Example.COM.").listed
    assert {str(host) for host in listed} == {"github.com", "git.example:8443", "[::1]:22", "git.example.com"}


@pytest.mark.parametrize(
    "text", ["https://github.com", "git@github.com", "a:0", "a:65536", "a:b", "*", "::1", "-x", "[a:1]"]
)
def test_an_invalid_host_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidHosts) as caught:
        GitHosts.parse(f"github.com {text}")
    assert str(caught.value).isprintable()
    assert repr(text) in str(caught.value)
