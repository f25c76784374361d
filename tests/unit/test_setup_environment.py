"""The environment of a step: the project's variables, what it inherits, and the package caches of its namespace."""

from __future__ import annotations

import sys
from pathlib import Path
from uuid import UUID

import pytest

from projectsetup.setup.environment import (
    inherited_environment,
    package_caches,
    portable_environment,
    private_paths,
    project_environment,
    secrets_in,
    trusted_path,
)
from projectsetup.setup.types import SetupProject

PROJECT = SetupProject(
    UUID("0f0f0f0f-1111-4222-8333-444444444444"), "Näme $(id)", "name", "two\nlines", "https://code/x", None
)
NOT_INHERITED = """
DATABASE_URL KUBECONFIG KUBERNETES_SERVICE_HOST PROJECTSETUP_RECIPES_DIR
AWS_SECRET_ACCESS_KEY GITHUB_TOKEN SSH_AUTH_SOCK UV_PUBLISH_PASSWORD CARGO_REGISTRY_TOKEN UV_PUBLISH_TOKEN
PYTHONPATH LD_PRELOAD BASH_ENV ENV GIT_DIR VIRTUAL_ENV USER
"""
INHERITED = """
LANG LC_ALL HTTPS_PROXY https_proxy NO_PROXY SSL_CERT_FILE GIT_SSL_CAINFO NODE_EXTRA_CA_CERTS
PIP_INDEX_URL PIP_CERT UV_DEFAULT_INDEX GOPROXY npm_config_registry CARGO_HOME
"""


@pytest.mark.parametrize("name", NOT_INHERITED.split())
def test_steps_do_not_inherit(name: str) -> None:
    assert name not in inherited_environment({name: "x", "HOME": "/root"})


@pytest.mark.parametrize("name", INHERITED.split())
def test_steps_inherit(name: str) -> None:
    assert inherited_environment({name: "x"})[name] == "x"


def test_the_operators_python_is_first_on_path() -> None:
    assert inherited_environment({"PATH": "/a:/b"})["PATH"] == f"{Path(sys.executable).parent}:/a:/b"
    assert inherited_environment({})["PATH"].endswith(":/usr/bin:/sbin:/bin")


def test_the_project_is_in_the_environment() -> None:
    environment = project_environment(
        PROJECT, {"license": "MIT", "python_version": "3 .11"}, attempt=2, workspace=Path("/w")
    )
    assert environment == {
        "PROJECT_ID": "0f0f0f0f-1111-4222-8333-444444444444",
        "PROJECT_NAME": "Näme $(id)",
        "PROJECT_SLUG": "name",
        "PROJECT_DESCRIPTION": "two\nlines",
        "CODE_REPO": "https://code/x",
        "DOCS_REPO": "",
        "ATTEMPT": "2",
        "WORKSPACE": "/w",
        "HOME": "/w/.home",
        "TMPDIR": "/w/.tmp",
        "PARAM_LICENSE": "MIT",
        "PARAM_PYTHON_VERSION": "3 .11",
    }


def test_passwords_and_tokens_in_urls_are_secrets() -> None:
    environment = {
        "HTTPS_PROXY": "http://me:p%40ss@proxy:3128",
        "PIP_EXTRA_INDEX_URL": "https://__token__:first@one/simple https://user:second@two/simple",
        "UV_INDEX": "internal=https://tok3ntok3ntok3ntok3n@three/simple https://git@four/simple",
        "GOPROXY": "https://five,direct",
    }
    assert set(secrets_in(environment)) == {"p%40ss", "p@ss", "first", "second", "tok3ntok3ntok3ntok3n"}


def test_the_portable_environment_has_no_paths_and_no_logins() -> None:
    operator = {
        "LANG": "de_DE.UTF-8",
        "LC_TIME": "C",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "http_proxy": "http://user:word@proxy.example:3128",
        "PIP_INDEX_URL": "https://packages.example/simple",
        "UV_INDEX_URL": "https://user:word@packages.example/simple",
        "UV_CACHE_DIR": "/var/cache/uv",
        "SSL_CERT_FILE": "/etc/ssl/own.pem",
        "PATH": "/usr/bin",
        "HOME": "/home/operator",
        "DATABASE_URL": "postgresql://u:p@h/d",
    }
    assert portable_environment(operator) == {
        "LANG": "de_DE.UTF-8",
        "LC_TIME": "C",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "PIP_INDEX_URL": "https://packages.example/simple",
    }


TOOLS = {"GOCACHE", "GOMODCACHE", "PIP_CACHE_DIR", "UV_CACHE_DIR", "npm_config_cache"}


def test_a_configured_cache_holds_one_cache_per_namespace(tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "UV_CACHE_DIR": str(tmp_path / "uv"), "CARGO_HOME": "/c"}
    caches = package_caches(environment, "team")
    assert caches.own["UV_CACHE_DIR"] == tmp_path / "uv/team"
    assert caches.own["CARGO_HOME"] == Path("/c/team")
    assert caches.own["PIP_CACHE_DIR"] == tmp_path / "cache/projectsetup/team/pip"
    assert caches.roots == {tmp_path / "uv", Path("/c"), tmp_path / "cache/projectsetup"}


def test_each_tool_has_a_private_cache_per_namespace(tmp_path: Path) -> None:
    caches = package_caches({"HOME": str(tmp_path)}, "team-a")
    assert caches.own.keys() == TOOLS
    assert caches.own["UV_CACHE_DIR"] == tmp_path / ".cache/projectsetup/team-a/uv"
    assert caches.roots == {tmp_path / ".cache/projectsetup"}
    other = package_caches({"HOME": str(tmp_path)}, "team-b")
    assert not set(caches.own.values()) & set(other.own.values())
    caches.make()
    caches.make()
    assert all(path.is_dir() and path.stat().st_mode & 0o777 == 0o700 for path in caches.own.values())
    (tmp_path / "link").symlink_to(".cache")
    assert package_caches({"UV_CACHE_DIR": str(tmp_path / "link")}, "team").roots == {tmp_path / ".cache"}


@pytest.mark.parametrize("operator", [{}, {"HOME": ""}, {"HOME": "relative"}, {"HOME": "/proc/self"}])
def test_there_are_no_caches_without_a_writable_folder(operator: dict[str, str]) -> None:
    assert package_caches(operator, "team").own == {}


def test_a_step_with_credentials_reads_no_git_configuration_of_a_user() -> None:
    assert private_paths(Path("/p")) == {"HOME": "/p/home", "TMPDIR": "/p/tmp", "GIT_CONFIG_GLOBAL": "/dev/null"}


def test_the_path_of_a_step_with_credentials_has_no_entry_in_the_workspace() -> None:
    assert trusted_path("/usr/bin:/w/bin:bin:/w:/w/../w/x:/bin", Path("/w")) == "/usr/bin:/bin"
