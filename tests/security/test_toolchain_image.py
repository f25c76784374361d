"""Attacker: code of a project in a step of the local engine, inside a container of the real toolchain image.

It runs as the user of the image, without rights, and wants DATABASE_URL, which is in the container's environment.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from images import TOOLCHAIN, build, images_obstacle
from tests.support.image_container import USER, Image, unpack

OBSTACLE: Final = images_obstacle((TOOLCHAIN,))
pytestmark = pytest.mark.skipif(OBSTACLE is not None, reason=OBSTACLE or "")

SUPPORT: Final = Path(__file__).parents[1] / "support" / "attacks"
PROGRAMS: Final = ("process_attack.py", "file_search.py", "image_driver.py")
WORK: Final = "/setup"
PLACE: Final = "/place"
PASSWORD: Final = "bXlzZWNyZXQ"
ATTACK: Final = f"""
python {PLACE}/process_attack.py {PASSWORD[::-1]} {PLACE}/processes-$KIND
python {PLACE}/file_search.py {PASSWORD[::-1]} {PLACE}/files-$KIND
"""


@pytest.fixture(scope="module")
def toolchain() -> Iterator[Image]:
    with TemporaryDirectory(prefix="projectsetup-image-") as folder:
        Path(folder).chmod(0o755)
        yield unpack(build((TOOLCHAIN,))[TOOLCHAIN], Path(folder) / "toolchain")


def attacked(image: Image, folder: Path) -> Path:
    """What the attacks have found, in a container whose first process is that of the image."""
    work, place = folder / "work", folder / "place"
    for made in (work, place):
        made.mkdir()
    for program in PROGRAMS:
        shutil.copy(SUPPORT / program, place)
    subprocess.run(["chown", "--recursive", f"{USER}:{USER}", str(work), str(place)], check=True)
    exit_code, output = image.run(
        *image.entrypoint[:-1],
        *("python", f"{PLACE}/image_driver.py", WORK, ATTACK),
        environment={"DATABASE_URL": f"postgresql://owner:{PASSWORD}@database/projects"},
        mounts={WORK: work, PLACE: place},
    )
    assert exit_code == 0, output
    return place


@pytest.fixture(scope="module")
def place(toolchain: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return attacked(toolchain, tmp_path_factory.mktemp("attacked"))


def successes(report: Path, *, fewest: int) -> list[str]:
    first, *found = report.read_text().splitlines()
    assert int(first.removeprefix("attacked ")) >= fewest
    return found


def test_it_is_tini_that_has_the_environment(toolchain: Image) -> None:
    assert toolchain.entrypoint == ["tini", "--", "projectsetup"]


def test_a_step_gets_at_nothing_of_any_other_process(place: Path) -> None:
    assert successes(place / "processes-step", fewest=4) == []


def test_where_there_is_no_landlock_nobody_gets_at_the_environment_all_the_same(place: Path) -> None:
    found = successes(place / "processes-unconfined", fewest=2)
    assert {line.split()[1] for line in found} == {"kill"}


@pytest.mark.parametrize("kind", ["step", "unconfined"])
def test_no_file_holds_it(place: Path, kind: str) -> None:
    assert (place / f"files-{kind}").read_text() == ""


def test_the_attack_wins_where_tini_can_be_read(toolchain: Image, tmp_path: Path) -> None:
    tini = toolchain.root / "usr/bin/tini"
    tini.chmod(0o755)
    try:
        found = successes(attacked(toolchain, tmp_path) / "processes-unconfined", fewest=2)
    finally:
        tini.chmod(0o111)
    assert "1 environ" in found
