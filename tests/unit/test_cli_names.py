"""Which project a command means by an id or a name."""

from __future__ import annotations

from typing import Any, cast

import pytest

from projectsetup.cli.errors import CommandError, ExitCode
from projectsetup.cli.names import Candidate, ProjectRef, choose, find_setup, setup_title, titled
from projectsetup.cli.options import project
from projectsetup.kube.setups import SetupClient

A, B, C, D = (f"{digit}b6f1c1e-5a43-4d0c-8e3e-5ad5f0f2a001" for digit in "abcd")
KNOWN = (
    Candidate(A, "shop", "team-a"),
    Candidate(B, "Order Service", "team-a"),
    Candidate(C, "twice", "team-a"),
    Candidate(C, "twice", "team-b"),
    Candidate(D, "", "team-b"),
)


@pytest.mark.parametrize(
    ("text", "found"),
    [("shop", A), ("Order Service", B), (" shop ", A), (A, A), (A.upper(), A), (f"projectsetup.codemyspec.com/{D}", D)],
)
def test_an_id_or_the_exact_name_of_one_project_is_that_project(text: str, found: str) -> None:
    assert choose(project(text), KNOWN, "here").id == found


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("twice", f"2 projects are named 'twice' here; use one of the ids: {C} (team-a); {C} (team-b)"),
        ("Shop", f"no project is named 'Shop' here; did you mean 'shop', {A} (team-a)?"),
        ("shpo", f"no project is named 'shpo' here; did you mean 'shop', {A} (team-a)?"),
        ("order", f"no project is named 'order' here; did you mean 'Order Service', {B} (team-a)?"),
        (D[:8], f"no project is named {D[:8]!r} here; did you mean {D} (team-b)?"),
        ("nothing like it", "no project is named 'nothing like it' here; expected a UUID or an exact name"),
        ("", "no project is named '' here; expected a UUID or an exact name"),
        (C, f"2 projects have the id {C} here; use one of the namespaces: team-a, team-b"),
        (C.replace("c", "9"), f"no project has the id {C.replace('c', '9')} here"),
    ],
)
def test_several_or_none_are_refused_with_the_candidates(text: str, line: str) -> None:
    with pytest.raises(CommandError) as refused:
        choose(project(text), KNOWN, "here")
    assert (str(refused.value), refused.value.code) == (line, ExitCode.BAD_INPUT)


def test_only_some_candidates_are_named() -> None:
    many = [Candidate(f"{number}", "twice", None) for number in range(9)]
    with pytest.raises(CommandError, match=r"9 projects are named 'twice' here; .*: 0; 1; 2; 3; 4; and 4 more$"):
        choose(ProjectRef("twice", None), many, "here")


async def test_an_id_in_a_namespace_takes_no_request() -> None:
    assert await find_setup(cast("SetupClient", object()), project(A), "team-a") == ("team-a", A)


async def test_a_setup_that_was_not_seen_yet_is_found_by_the_name_in_its_spec() -> None:
    class Setups:
        async def visit(self, namespaces: tuple[str, ...], handle: Any) -> None:
            assert namespaces == ()
            spec = {"project": {"name": "shop", "codeRepo": "https://git.example/shop"}}
            handle({"metadata": {"name": A, "namespace": "team-a"}, "spec": spec})

    assert await find_setup(cast("SetupClient", Setups()), project("shop"), None) == ("team-a", A)


def test_a_title_is_the_name_beside_the_id() -> None:
    assert (titled("a\x1b[2Jb", A), titled(None, A)) == (f"a\ufffd[2Jb ({A})", A)
    assert setup_title("team-a", A, "shop") == f"ProjectSetup team-a/{A} (shop)"
    assert setup_title("team-a", A, None) == f"ProjectSetup team-a/{A}"
