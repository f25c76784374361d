"""The package caches of a namespace."""

from __future__ import annotations

from pathlib import Path

import pytest

from projectsetup.setup.caches import package_caches

TOOLS = {"GOCACHE", "GOMODCACHE", "PIP_CACHE_DIR", "UV_CACHE_DIR", "npm_config_cache"}


def test_each_tool_has_a_cache_per_namespace(tmp_path: Path) -> None:
    caches = package_caches({"HOME": str(tmp_path)}, "team-a")
    assert caches.own.keys() == TOOLS
    assert caches.own["UV_CACHE_DIR"] == tmp_path / ".cache/projectsetup/team-a/uv"
    assert caches.roots == {tmp_path / ".cache/projectsetup"}
    other = package_caches({"HOME": str(tmp_path)}, "team-b")
    assert not set(caches.own.values()) & set(other.own.values())
    assert other.roots == caches.roots


def test_a_configured_cache_holds_one_cache_per_namespace(tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "UV_CACHE_DIR": str(tmp_path / "uv"), "CARGO_HOME": "/c"}
    caches = package_caches(environment, "team")
    assert caches.own["UV_CACHE_DIR"] == tmp_path / "uv/team"
    assert caches.own["CARGO_HOME"] == Path("/c/team")
    assert caches.own["PIP_CACHE_DIR"] == tmp_path / "cache/projectsetup/team/pip"
    assert caches.roots == {tmp_path / "uv", Path("/c"), tmp_path / "cache/projectsetup"}


def test_make_creates_private_directories(tmp_path: Path) -> None:
    caches = package_caches({"HOME": str(tmp_path)}, "team")
    caches.make()
    caches.make()
    assert all(path.is_dir() and path.stat().st_mode & 0o777 == 0o700 for path in caches.own.values())


def test_roots_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert package_caches({"UV_CACHE_DIR": str(tmp_path / "link")}, "team").roots == {tmp_path / "real"}


@pytest.mark.parametrize("operator", [{}, {"HOME": ""}, {"HOME": "relative"}, {"HOME": "/proc/self"}])
def test_there_are_no_caches_without_a_writable_folder(operator: dict[str, str]) -> None:
    assert package_caches(operator, "team").own == {}
