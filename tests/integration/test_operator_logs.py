"""The log: one JSON object a line, each about a setup says which, and no line holds a secret."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlsplit

from tests.support.operator_stage import AT_ONCE, Stage
from tests.support.setup_handle import Setup

Line = dict[str, Any]

PASSWORD = "p%s'\"$(id)\\ =ä&7"
URL = "postgresql://operator:hunter22hunter22@database.example/projects"
PRELUDE = f"""
import logging
from projectsetup.observe.logs import about_setup, configure_logging, get_logger
from projectsetup.setup.scrub import Scrubber
url = {URL!r}
configure_logging("json", scrub=Scrubber([url]).scrub)
log, library = get_logger("test"), logging.getLogger("library")
"""
BREAKS_ONCE = 'echo "signed in with $PROJECT_GIT_PASSWORD"; [ "$ATTEMPT" -gt 1 ] || exit 75'


def lines_of(stage: Stage) -> list[Line]:
    return [json.loads(line) for line in stage.operator.log.read_text().splitlines()]


def test_the_life_of_a_setup_reads_from_its_lines(new_stage: Callable[..., AbstractContextManager[Stage]]) -> None:
    with new_stage() as stage:
        stage.operator.start()
        literals = ("--from-literal=username=bob", f"--from-literal=password={PASSWORD}")
        stage.api.kubectl("create", "secret", "generic", "git", *literals)
        setup = Setup.make(
            stage,
            "scripts",
            project=stage.project(code_repo="https://git.example.test/code.git"),
            first="echo begun",
            second=BREAKS_ONCE,
            annotations=AT_ONCE,
            spec={"credentialsSecretRef": {"name": "git"}},
        )
        why, status = setup.ended()
        assert why == "SetupSucceeded", status
        setup.has_events("Started", "RetryScheduled", "Started", "Succeeded")
        assert stage.operator.terminate() == 0
        lines, text = lines_of(stage), stage.operator.log.read_text()
        database_password = urlsplit(stage.database_url).password

    assert all({"event", "level", "timestamp", "logger"} <= line.keys() for line in lines)
    own = [line for line in lines if setup.name in json.dumps(line)]
    assert {(line["namespace"], line["project"]) for line in own} == {(setup.api.namespace, setup.name)}
    assert [(line.get("reason") or line["event"], line["attempt"], line.get("step")) for line in own] == [
        ("Started", 1, "first"),
        ("begun", 1, "first"),
        ("step started", 1, "second"),
        ("signed in with ***", 1, "second"),
        ("RetryScheduled", 1, "second"),
        ("Started", 2, "first"),
        ("begun", 2, "first"),
        ("step started", 2, "second"),
        ("signed in with ***", 2, "second"),
        ("step started", 2, "third"),
        ("Succeeded", 2, None),
    ]
    for secret in (PASSWORD, json.dumps(PASSWORD)[1:-1], database_password):
        assert secret, "a secret that is none hides nowhere"
        assert secret not in text


def logged(script: str) -> list[Line]:
    """What a process writes to its log in which `script` runs with `log` and `library`, a logger of each kind."""
    done = subprocess.run([sys.executable, "-c", PRELUDE + script], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_no_line_holds_a_secret_whoever_writes_it() -> None:
    lines = logged("""
log.info("connecting to " + url, error="token=abcdefgh at " + url, count=3)
library.warning("cannot reach %s", url)
try:
    raise OSError(url)
except OSError:
    log.exception("it broke")
    library.exception("it broke")
""")
    assert [line["event"] for line in lines] == ["connecting to ***", "cannot reach ***", "it broke", "it broke"]
    assert (lines[0]["error"], lines[0]["count"]) == ("token=*** at ***", 3)
    assert all("OSError: ***" in line["exception"] for line in lines[2:])
    assert "hunter22" not in json.dumps(lines)


def test_lines_of_libraries_say_which_setup_they_are_about() -> None:
    within, told, after = logged("""
with about_setup(("team-a", "id-1"), attempt=2, step=None):
    library.warning("within")
library.warning("told", extra={"namespace": "team-a", "project": "id-2"})
library.warning("after")
""")
    assert {"namespace": "team-a", "project": "id-1", "attempt": 2}.items() <= within.items()
    assert "step" not in within
    assert {"namespace": "team-a", "project": "id-2"}.items() <= told.items()
    assert not {"namespace", "project", "attempt"} & after.keys()
