"""The attacker is a tenant who may create and change ProjectSetups, and write their `.status`, in one namespace.

The tenant makes as many as there is room for, each as large as the API server accepts, so that the operator runs out of
memory for everybody. The long form (`make chaos`) makes 10,000 of them.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Final

import pytest

from benchmarks.machine import memory, peak
from projectsetup.api.spec import PARAMETERS_MAX_BYTES
from tests.support.api_server import ApiServer, Body, Refused
from tests.support.bulk import make_all
from tests.support.chaos.fault_run import IS_LONG
from tests.support.operator_process import wait_for
from tests.support.operator_sandbox import NewSandbox, Sandbox
from tests.support.setup_handle import Setup

NUMBER: Final = 10_000 if IS_LONG else 100
LARGE: Final = 10 if IS_LONG else 2
"""One in so many has the maximum size. 10,000 of those would not fit into an etcd of its usual 2 GiB."""
ANNOTATION: Final = 50_000 if IS_LONG else 250_000
LIMIT: Final = 600.0 if IS_LONG else 220.0
"""The most MiB that the operator may use. The limit of its container is 1,024."""
NEIGHBOUR: Final = 30.0
"""The most seconds that another tenant's setup may take; the measured time is only reported."""
AFTER_START: Final = 600.0 if IS_LONG else 60.0
"""The most seconds for a start, and for the neighbour's first setup after it: the operator lists all there is."""
STARTS, NEIGHBOURS = (("first", "second"), 3) if IS_LONG else (("only",), 1)
ASTRAL: Final = "".join(chr(0x1F300 + number) for number in range(256))
"""Characters of four bytes each."""


def noise(length: int) -> str:
    """Text that hardly compresses."""
    return "".join(random.choices(ASTRAL, k=length))  # noqa: S311  # large, not secret


def kept() -> Body:
    """A ProjectSetup just small enough for the operator to keep whole."""
    return {
        "metadata": {"annotations": {"tenant": os.urandom(ANNOTATION // 2).hex()}},
        "spec": {
            "recipe": "instant",
            "suspend": True,
            "parameters": {f"p{number}": os.urandom(740).hex() for number in range(18)},
        },
        "status": {},
    }


def large() -> Body:
    """A ProjectSetup with the maximum of every field."""
    when = "2026-01-01T00:00:00Z"
    attempt = {"number": 1, "startedAt": when, "finishedAt": when, "outcome": "Failed", "reason": noise(253)}
    condition = {"status": "Unknown", "lastTransitionTime": when, "reason": noise(1024), "message": noise(1024)}
    share = PARAMETERS_MAX_BYTES // 64 // 4 - 2
    return {
        "metadata": {
            "annotations": {"tenant": os.urandom(ANNOTATION // 2).hex()},
            "labels": {f"l{number}": "" for number in range(500)},
            "finalizers": [f"tenant/f{number}" for number in range(100)],
        },
        "spec": {
            "recipe": "instant",
            "suspend": True,
            "parameters": {f"p{number}": noise(share) for number in range(64)},
        },
        "status": {
            "attempts": [{**attempt, "message": noise(1024), "step": noise(253)} for _ in range(10)],
            "conditions": [{**condition, "type": f"Tenant{number}"} for number in range(16)],
        },
    }


def worst(number: int) -> Body:
    """Most are just small enough to be kept; the others have the maximum size."""
    return kept() if number % LARGE else large()


@contextmanager
def touching(api: ApiServer, names: list[str]) -> Iterator[None]:
    """Change one after the other meanwhile: each change is a watch event with the whole object."""
    ending = Event()

    def touch() -> None:
        for name in names * 1_000:
            if ending.is_set():
                return
            api.patch(name, {"metadata": {"annotations": {"touched": str(time.time_ns())}}})

    with ThreadPoolExecutor(1) as pool:
        touched = pool.submit(touch)
        try:
            yield
        finally:
            ending.set()
        touched.result()


@dataclass(frozen=True)
class Attacked:
    """An operator, not running, that serves a neighbour (`sandbox`) and the tenant, and what the tenant made."""

    sandbox: Sandbox
    tenant: ApiServer
    names: list[str]


@pytest.fixture(scope="module")
def attacked(new_sandbox: NewSandbox, kubeconfig: Path) -> Iterator[Attacked]:
    with new_sandbox() as sandbox:
        tenant = ApiServer.prepared(kubeconfig, "tenant")
        sandbox.operator.configure(namespaces=f"{sandbox.api.namespace},{tenant.namespace}")
        sandbox.operator.start()
        neighbour(sandbox)
        sandbox.operator.terminate()
        names = make_all(kubeconfig, tenant.namespace, worst, NUMBER)
        yield Attacked(sandbox, tenant, names)
        for name in names[::LARGE]:
            tenant.patch(name, {"metadata": {"finalizers": None}})


def test_setups_of_the_maximum_size_keep_the_operator_within_its_memory_limit(
    attacked: Attacked, report_figures: Callable[[object], None]
) -> None:
    sandbox, operator = attacked.sandbox, attacked.sandbox.operator
    for start in STARTS:
        began = time.monotonic()
        operator.start(limit=AFTER_START)
        ready, first = time.monotonic() - began, neighbour(sandbox, limit=AFTER_START)
        with touching(attacked.tenant, attacked.names):
            served = max(neighbour(sandbox) for _ in range(NEIGHBOURS))
        if IS_LONG:
            before = lists(sandbox.api)
            wait_for(lambda: lists(sandbox.api) > before, "a comparison with a full list", limit=60.0)  # noqa: B023
            served = max(served, neighbour(sandbox))
        taken, most = memory(operator.pid).rss, peak(operator.pid)
        report_figures(
            f"{start} start over {NUMBER:,} of the largest: ready after {ready:.1f} s, a neighbour's setup took "
            f"{first:.1f} s then and {served:.1f} s at most later, memory {taken:.0f} MiB, at most {most:.0f} MiB"
        )
        assert most < LIMIT
        operator.terminate()


def lists(api: ApiServer) -> int:
    """Return how many lists of ProjectSetups the API server has answered."""
    counts = re.findall(
        r'^apiserver_request_total\{[^}]*resource="projectsetups"[^}]*verb="LIST"[^}]*\} (\d+)$',
        api.kubectl("get", "--raw", "/metrics"),
        re.MULTILINE,
    )
    return sum(map(int, counts))


def neighbour(sandbox: Sandbox, *, limit: float = NEIGHBOUR) -> float:
    """Return the seconds that another tenant's setup takes now."""
    began = time.monotonic()
    assert Setup.make(sandbox).ended(limit=limit)[0] == "SetupSucceeded"
    return time.monotonic() - began


@pytest.mark.parametrize(
    "parameters",
    [
        {f"p{number}": noise(512) for number in range(17)},
        {f"p{number}": "x" * 4096 for number in range(64)},
        {"p" * 40_000: ""},
    ],
    ids=["a little too much", "all at their longest", "a long name"],
)
def test_more_parameters_than_allowed_are_refused(attacked: Attacked, parameters: Body) -> None:
    with pytest.raises(Refused, match="at most 32768 bytes, names and values together"):
        attacked.tenant.create(spec={"parameters": parameters})


def test_a_large_handled_request_in_status_is_refused(attacked: Attacked) -> None:
    with pytest.raises(Refused, match="lastHandledRetry"):
        attacked.tenant.patch_status(attacked.names[0], {"lastHandledRetry": noise(1_000)})
