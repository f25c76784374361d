"""The image: what can be said of its Dockerfile and lock files without building it."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.manifests import ROOT

LINES: Final = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text()).splitlines()
INSTRUCTIONS: Final = [
    (line.split(maxsplit=1)[0], line.split(maxsplit=1)[1])
    for line in LINES
    if line.strip() and not line.lstrip().startswith("#")
]
RELOCK: Final = "make lock"


def arguments(instruction: str) -> list[str]:
    return [rest for name, rest in INSTRUCTIONS if name == instruction]


def pins(name: str) -> dict[str, str]:
    """Each package of a lock file with its version, marker and hashes."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / name).read_text())
    return {canonicalize_name(line.partition("==")[0]): line for line in text.splitlines()}


def needed() -> set[str]:
    """What the package needs on this machine, all the way down."""
    found: set[str] = set()
    waiting = [("projectsetup", frozenset[str]())]
    while waiting:
        name, extras = waiting.pop()
        for text in metadata.requires(name) or ():
            requirement = Requirement(text)
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
                continue
            dependency = canonicalize_name(requirement.name)
            if dependency not in found or requirement.extras:
                found.add(dependency)
                waiting.append((dependency, frozenset(requirement.extras)))
    return found


def test_runs_as_a_numeric_user_that_is_not_root() -> None:
    last_stage = INSTRUCTIONS[max(place for place, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM") :]
    (user,) = (rest for name, rest in last_stage if name == "USER")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)


def test_base_images_name_version_and_distribution() -> None:
    images = [rest.split()[0] for rest in arguments("FROM")]
    assert images
    assert all(re.fullmatch(r"python:3\.\d+-slim-[a-z]+", image) for image in images)
    assert len(set(images)) == 1


def test_takes_nothing_from_addresses() -> None:
    assert not arguments("ADD")
    assert not any("://" in line for line in LINES)


def test_every_package_is_installed_by_hash_or_without_dependencies() -> None:
    installs = [part for rest in arguments("RUN") for part in rest.split("&&") if " install " in part and "pip" in part]
    assert len(installs) == 2
    assert all("--require-hashes" in part or "--no-deps" in part for part in installs)


def test_runs_the_operator_and_any_other_command() -> None:
    assert arguments("ENTRYPOINT") == ['["tini", "--", "projectsetup"]']
    assert arguments("CMD") == ['["operator"]']


def test_what_is_copied_is_in_the_context() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [rest.split()[:-1] for rest in arguments("COPY") if "--from=" not in rest]
    assert {name for names in copied for name in names} == allowed
    assert all((ROOT / name).exists() for name in allowed)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-runtime.lock"])
def test_locks_hold_no_addresses(name: str) -> None:
    assert "://" not in (ROOT / name).read_text()


def test_the_runtime_lock_is_part_of_the_whole_one() -> None:
    whole, runtime = pins("requirements.lock"), pins("requirements-runtime.lock")
    assert runtime.items() <= whole.items(), f"make it anew: {RELOCK}"


def test_the_runtime_lock_holds_what_is_needed_and_no_tools() -> None:
    runtime = pins("requirements-runtime.lock").keys()
    assert needed() <= runtime, f"make it anew: {RELOCK}"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tools = {canonicalize_name(Requirement(text).name) for text in project["dependency-groups"]["dev"]}
    assert not runtime & tools
