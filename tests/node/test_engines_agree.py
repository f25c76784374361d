"""One table of recipes and their outcomes: both engines report the same messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from devcluster import Cluster
from tests.support.node.sandboxes import node_sandbox
from tests.support.operator_sandbox import Sandbox, reason
from tests.support.setup_handle import Setup

ENGINES: Final = ("local", "job")
LIMIT: Final = 180.0
ODD: Final = "$(PROJECT_ID) $$ $HOME `id` \\ ' \""


@dataclass(frozen=True)
class Row:
    """Scripts that run in one attempt, the reason of `Succeeded`, and the failure, if any."""

    reason: str
    scripts: dict[str, str] = field(default_factory=dict)
    failure: str | None = None
    step: str | None = None
    code: int | None = None
    message: str = ""
    recipe: str = "scripts"
    timeout: str = "30m"


LINES: Final = "i=0; while [ $i -lt 3000 ]; do echo line $i of many; i=$((i+1)); done"
TABLE: Final = {
    "all steps succeed": Row("SetupSucceeded"),
    "the environment of steps": Row(
        "SetupSucceeded",
        {
            "first": 'test "$(pwd)" = "$WORKSPACE"; test "$HOME" = "$WORKSPACE/.home"; test -d "$TMPDIR"; '
            'test "$ATTEMPT" = 1; test "$CODE_REPO" = "/nowhere/$PROJECT_ID.git"; test -z "$DOCS_REPO"; '
            'test "$PROJECT_NAME" = "$PROJECT_ID"; test "$OWN" = "of the first"; test -z "$(ls)"',
            "second": 'test "$OWN" = "of the second"; test "${GIT_ALLOW_PROTOCOL}" = https:ssh:file; '
            'test "$(id -u)" = "$(stat -c %u .)"; ! read -r line',
            "third": 'test -z "${OWN-}"; test -z "${DATABASE_URL-}"; test -z "${KUBECONFIG-}"; '
            'test -z "${KUBERNETES_SERVICE_HOST-}"; test -z "${PROJECTSETUP_ENGINE-}"',
        },
    ),
    "values are never pasted": Row(
        "SetupSucceeded",
        {
            "first": f'test "${{#PARAM_ODD}}" = {len(ODD)}; printf %s "$PARAM_ODD" >said; '
            "grep -qF '(PROJECT_ID) $$ $HOME `id`' said",
            "odd": ODD,
        },
    ),
    "the workspace is shared by the steps": Row(
        "SetupSucceeded", {"first": "echo one >a; mkdir d", "third": "test one = $(cat a); cd d"}
    ),
    "facts": Row("SetupSucceeded", {"first": f'echo "CODE_COMMIT={"c0de" * 10}" >>"$STEP_OUTPUTS"'}),
    "a step fails": Row("StepFailed", {"second": "echo because; exit 3"}, "StepFailed", "second", 3, "because"),
    "it requests another attempt": Row("AttemptsExhausted", {"second": "exit 75"}, "StepTransient", "second", 75),
    "a line of the recipe": Row(
        "AttemptsExhausted", {"second": "echo fetch: Connection reset; exit 9"}, "StepTransient", "second", 9, "reset"
    ),
    "a line long before the end": Row(
        "AttemptsExhausted",
        {"second": f"echo Temporary Failure in names; {LINES}; exit 9"},
        "StepTransient",
        "second",
        9,
        "Temporary Failure in names",
    ),
    "a line of a translated pattern": Row(
        "AttemptsExhausted", {"second": "echo not now; exit 9"}, "StepTransient", "second", 9, "not now"
    ),
    "the end of much output": Row("StepFailed", {"second": f"{LINES}; exit 4"}, "StepFailed", "second", 4, "line 2999"),
    "killed": Row("AttemptsExhausted", {"first": "kill -9 $$"}, "StepKilled", "first", None, "SIGKILL"),
    "too slow": Row("AttemptsExhausted", {"second": "sleep 60"}, "StepTimedOut", "second", None, "timed out after 10s"),
    "the attempt is too slow": Row(
        "AttemptsExhausted", {"first": "sleep 120"}, "StepTimedOut", "first", None, "timed out after 30s", timeout="30s"
    ),
    "what a step leaves behind": Row(
        "SetupSucceeded",
        {
            "first": "(trap '' TERM; while :; do date >alive; sleep 0.1; done) >/dev/null 2>&1 &\n"
            "until test -e alive; do sleep 0.1; done",
            "second": "rm -f alive; sleep 0.5; test ! -e alive",
        },
        recipe="together",
    ),
}
Ends = dict[str, dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def ends(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Ends:
    """The final status of each setup, by engine and row."""
    folder = tmp_path_factory.mktemp("engines")
    ends: Ends = {}
    for engine in ENGINES:
        with node_sandbox(node_cluster, folder / engine, engine=engine, concurrency="6") as sandbox:
            sandbox.operator.start()
            setups = {title: _apply(sandbox, row) for title, row in TABLE.items()}
            ends[engine] = {title: setup.ended(limit=LIMIT)[1] for title, setup in setups.items()}
    return ends


def _apply(sandbox: Sandbox, row: Row) -> Setup:
    spec = {"timeout": row.timeout}
    return Setup.make(sandbox, row.recipe, annotations={"max_attempts": "1"}, spec=spec, parameters=row.scripts)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("title", TABLE)
def test_a_setup_ends_as_its_row_says(ends: Ends, title: str, engine: str) -> None:
    row, status = TABLE[title], ends[engine][title]
    assert reason(status) == row.reason, status
    failure = status.get("failure", {})
    assert (failure.get("reason"), failure.get("step"), failure.get("exitCode")) == (row.failure, row.step, row.code)
    assert row.message in failure.get("message", "")


@pytest.mark.parametrize("title", TABLE)
def test_both_engines_report_the_same(ends: Ends, title: str) -> None:
    local, job = (_reported(ends[engine][title]) for engine in ENGINES)
    assert job == local


def _reported(status: dict[str, Any]) -> dict[str, Any]:
    reported = {name: status.get(name) for name in ("phase", "projectStatus", "step", "progress", "attempt", "commits")}
    failure = dict(status.get("failure", {}))
    if "the attempt timed out" in failure.get("message", ""):  # a Job that timed out does not report its output
        failure["message"] = failure["message"].partition(";")[0]
    return {**reported, "failure": failure}
