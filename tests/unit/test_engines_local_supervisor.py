"""The parts of the supervisor that can be tested without one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import projectsetup
from projectsetup.engines.local import supervisor_client
from projectsetup.engines.local.supervisor import directories, landlock
from projectsetup.engines.local.supervisor.directories import remove_tree
from projectsetup.engines.local.supervisor.processes import descendants

NAMES = st.sampled_from(["a", "b", "-rf", "line\nbreak", ".hidden", "ü", "lock"])
MODES = st.sampled_from([0o000, 0o400, 0o500, 0o700])
TREES = st.recursive(
    st.sampled_from(["file", "link", "broken", "fifo"]),
    lambda inner: st.tuples(MODES, st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=12,
)
Tree = str | tuple[int, dict[str, "Tree"]]


def loaded_modules(imports: str) -> set[str]:
    script = f"import json, sys{imports}; print(json.dumps(sorted(sys.modules)))"
    return set(json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout))


def test_it_imports_little_more_than_the_interpreter_does() -> None:
    loaded = loaded_modules(", projectsetup.engines.local.supervisor.__main__")
    heavy = {"asyncio", "logging", "pathlib", "pydantic", "subprocess", "tempfile", "typing_extensions", "yaml"}
    assert not heavy & (loaded - loaded_modules(""))
    ours = {name for name in loaded if name.startswith("projectsetup")}
    assert {name for name in ours if not name.startswith("projectsetup.engines")} == {"projectsetup"}


def test_it_is_imported_from_where_the_operator_is() -> None:
    assert Path(supervisor_client._SOURCE_ROOT) / "projectsetup" == Path(projectsetup.__file__).parent


@pytest.mark.parametrize("has_landlock", [True, False])
def test_a_shell_starts_confined_where_the_kernel_has_landlock(tmp_path: Path, *, has_landlock: bool) -> None:
    if has_landlock and not landlock.abi():
        pytest.skip("this kernel has no Landlock")
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.write_text("secret")
    script = f"""
import os
from projectsetup.engines.local.supervisor import kernel, landlock, step
if not {has_landlock}:
    landlock.abi = lambda: 0
kernel.give_up_new_privileges()
rules = landlock.new_rules(("{other}",), ("{own}",)) if landlock.abi() else None
command = step.Command("cat {other}", {{"PATH": "/usr/bin:/bin"}}, "{own}", 1.0, rules)
started = step.start_shell(command, 1, os.open(".", os.O_PATH))
print(os.waitstatus_to_exitcode(os.waitpid(started, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ("secret" in done.stdout) is not has_landlock


def test_a_directory_belongs_to_its_supervisor_while_that_lives(tmp_path: Path) -> None:
    own, lock = directories.make_own(str(tmp_path))
    assert Path(own).stat().st_mode & 0o777 == 0o700
    assert not os.get_inheritable(lock)
    assert directories.find_abandoned(str(tmp_path)) == {}
    os.close(lock)
    abandoned = directories.find_abandoned(str(tmp_path))
    assert list(abandoned) == [own]
    assert directories.find_abandoned(str(tmp_path)) == {}, "the first to find it owns it"
    os.close(abandoned[own])
    directories.remove_own(own)
    assert list(tmp_path.iterdir()) == []


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
def test_any_tree_is_removed_but_not_what_its_links_point_to(
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


def test_a_tree_deeper_than_the_longest_path_is_removed(tmp_path: Path) -> None:
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


def test_only_the_files_to_keep_stay(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    for name in ("lock", "other", "sub/lock"):
        (root / name).touch()
    remove_tree(str(root), keep=("lock",))
    assert list(root.iterdir()) == [root / "lock"]


def test_what_cannot_be_removed_is_an_error_but_the_rest_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_descendants_come_parents_first() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 100 & echo; wait"], stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        shell.stdout.readline()
        found = descendants()
        spared = descendants(spare=[shell.pid])
        (sleep,) = [pid for pid in found if parent_of(pid) == shell.pid]
        os.kill(sleep, signal.SIGKILL)
    assert found.index(shell.pid) < found.index(sleep)
    assert not {shell.pid, sleep} & set(spared)


def parent_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
