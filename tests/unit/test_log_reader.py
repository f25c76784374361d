"""Reading on from a line of a pod's log, of which the API server only knows the second."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, cast
from uuid import UUID

import pytest

from projectsetup.log_reader import Line, Mark, PodOutput

PROJECT = UUID("0b6f1c1e-5a43-4d0c-8e3e-5ad5f0f2a001")
RUN = f"setup-{PROJECT}-2-5-abcde"


def at(second: int) -> str:
    return f"2026-11-24T12:00:{second:02}"


class Pods:
    """One pod whose containers printed these lines, each `seconds text`."""

    def __init__(self, **containers: list[str]) -> None:
        self.containers = containers

    async def select(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        assert (namespace, str(PROJECT) in selector) == ("team-a", True)
        stages = [{"name": name, "env": [{"name": "PROJECT_ID", "value": "x"}]} for name in self.containers]
        metadata = {"name": "pod", "creationTimestamp": f"{at(0)}Z", "ownerReferences": [{"kind": "Job", "name": RUN}]}
        return [{"metadata": metadata, "spec": {"containers": [*stages, {"name": "proxy"}]}}]

    async def read(
        self, namespace: str, pod: str, container: str, *, follow: bool, since: str | None = None
    ) -> AsyncGenerator[bytes]:
        assert (namespace, pod, follow) == ("team-a", "pod", False)
        for line in self.containers[container]:
            second, _, text = line.partition(" ")
            if since is None or f"{at(int(second))}Z" >= since:
                yield f"{at(int(second))}.123456789Z {text}\n".encode()


PODS = Pods(build=["1 a", "1 b", "1 c", "2 d"], test=["2 e", "3 f", "3 ", "3 f"])


def output(pods: Pods) -> PodOutput:
    return PodOutput(cast(Any, None), cast(Any, pods), "team-a", PROJECT)


async def read(source: PodOutput, after: Mark | None = None) -> list[Line]:
    (attempt,) = await source.attempts()
    return [line async for line in source.lines(attempt, follow=False, after=after) if isinstance(line, Line)]


async def test_reading_on_from_each_line_neither_repeats_nor_loses_one() -> None:
    lines = await read(output(PODS))
    assert [line.text for line in lines] == ["a", "b", "c", "d", "e", "f", "", "f"]
    assert len({line.place for line in lines}) == len(lines)
    for number, line in enumerate(lines):
        assert await read(output(PODS), Mark(line.place, line.step)) == lines[number + 1 :]


async def test_places_stay_the_same_while_more_is_printed() -> None:
    before = await read(output(Pods(build=PODS.containers["build"][:2], test=[])))
    assert before == (await read(output(PODS)))[:2]


@pytest.mark.parametrize("place", ["", "7.1", "pod/build/x/1", "pod/build/1/2/3"])
async def test_a_mark_that_no_line_has(place: str) -> None:
    with pytest.raises(ValueError, match=r"unpack|invalid literal"):
        await read(output(PODS), Mark(place, "build"))


async def test_an_attempt_of_a_pod() -> None:
    (attempt,) = await output(PODS).attempts()
    assert (attempt.attempt, attempt.run_name, attempt.started_at.isoformat()) == (2, RUN, f"{at(0)}+00:00")
