"""Directories are removed whatever is in them, and nothing else is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectsetup.engines.local.supervisor.trees import remove_tree

NAMES = st.sampled_from(["a", "b", "-rf", "line\nbreak", ".hidden", "ü", "lock"])
MODES = st.sampled_from([0o000, 0o400, 0o500, 0o700])
TREES = st.recursive(
    st.sampled_from(["file", "link", "broken", "fifo"]),
    lambda inner: st.tuples(MODES, st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=12,
)
Tree = str | tuple[int, dict[str, "Tree"]]


def grow(path: Path, tree: Tree, target: Path) -> None:
    match tree:
        case "file":
            path.write_text("x")
            path.chmod(0o000)
        case "link":
            path.symlink_to(target)
        case "broken":
            path.symlink_to("nowhere")
        case "fifo":
            os.mkfifo(path)
        case mode, entries:
            path.mkdir()
            for name, entry in entries.items():
                grow(path / name, entry, target)
            path.chmod(mode)


@given(entries=st.dictionaries(NAMES, TREES, max_size=4))
def test_any_tree_is_removed_and_what_it_points_to_is_not(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[str, Tree]
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    target = folder / "target"
    target.mkdir()
    (target / "kept").touch()
    grow(folder / "root", (0o700, entries), target)
    remove_tree(str(folder / "root"))
    assert sorted(folder.iterdir()) == [target]
    assert list(target.iterdir()) == [target / "kept"]


def test_a_tree_deeper_than_any_path_is_removed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    fd = os.open(root, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d" * 20, dir_fd=fd)
        inner = os.open("d" * 20, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    remove_tree(str(root))
    assert not root.exists()


def test_what_is_to_be_kept_is_kept(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    for name in ("lock", "other", "sub/lock"):
        (root / name).touch()
    remove_tree(str(root), keep=("lock",))
    assert list(root.iterdir()) == [root / "lock"]


def test_what_cannot_be_removed_is_told_and_the_rest_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    for name in ("a", "stuck", "sub/z"):
        (root / name).touch()
    unlink = os.unlink

    def refuse(path: str) -> None:
        if path.endswith("stuck"):
            raise OSError(16, "Device or resource busy", path)
        unlink(path)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(OSError, match=r"busy.*stuck"):
        remove_tree(str(root))
    assert list(root.iterdir()) == [root / "stuck"]


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        remove_tree(str(tmp_path / "missing"))
