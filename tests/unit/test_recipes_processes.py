"""Child processes whose output, and what they write to named pipes, is read within bounds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from projectsetup.recipes.commands.processes import Command, run_pipeline


def run(folder: Path, script: str) -> bytes:
    """What the script writes to the named pipe `channel`."""
    read = bytearray()
    command = Command(["sh", "-c", script], {"PATH": os.environ["PATH"]})
    run_pipeline(command, folder=folder, consume=lambda _: None, channels={folder / "channel": read.extend})
    return bytes(read)


@pytest.mark.parametrize(
    ("script", "size"),
    [
        ("true", 0),
        ("printf end >channel", 3),
        ("printf begin >channel; printf end >>channel", 8),
        ("head -c 3000000 /dev/zero >channel", 3_000_000),
        ("exec >&- 2>&-; head -c 3000000 /dev/zero >channel", 3_000_000),
        ("(head -c 60000 /dev/zero; exit) >channel & wait", 60_000),
    ],
)
def test_all_that_is_written_to_a_channel_arrives(tmp_path: Path, script: str, size: int) -> None:
    assert len(run(tmp_path, script)) == size
    assert not list(tmp_path.iterdir())
