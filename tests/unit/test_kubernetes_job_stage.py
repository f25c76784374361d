"""The script of a stage as process 1 of a PID namespace, in each shell that may be an image's `sh`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from projectsetup.engines.kubernetes_job.pod import STAGE_SCRIPT
from projectsetup.setup.output import IGNORED_PREFIX
from projectsetup.setup.types import Volume
from tests.support.job_attempts import make_attempt, make_recipe
from tests.support.mounts import mounted, needs_mounts
from tests.support.stage_container import LIMIT, Container, ContainerResult, containers, has_namespaces

SHELLS = [("dash",), ("bash", "--posix"), ("busybox", "sh")]
CODE, DOCS = "a" * 40, "b" * 64

pytestmark = pytest.mark.skipif(not has_namespaces(), reason="this user may not create PID namespaces")

Box = Callable[..., Container]
not_busybox = pytest.mark.parametrize("shell", SHELLS[:-1], ids=itemgetter(0), indirect=True)


@pytest.fixture(params=SHELLS, ids=itemgetter(0))
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    name, *options = request.param
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    return program, *options


@pytest.fixture
def box(shell: tuple[str, ...], tmp_path: Path) -> Box:
    """A stage with these steps, in a container whose `sh` is the shell."""
    commands = tmp_path / "bin"
    commands.mkdir()
    if "busybox" in shell[0]:  # an image in which everything is busybox
        subprocess.run([shell[0], "--install", "-s", commands], check=True)
        path = str(commands)
    else:
        (commands / "sh").symlink_to(shell[0])
        path = f"{commands}:{os.environ['PATH']}"

    def make(*steps: dict[str, Any], secret: dict[str, str] | None = None, **changes: Any) -> Container:
        attempt = make_attempt(make_recipe(*steps), credentials_secret=None if secret is None else "git", **changes)
        (spec,) = containers(attempt)
        return Container(tmp_path, spec, shell, secret=secret or {}, path=path)

    return make


def step(name: str, run: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "run": run, **more}


def printed(ended: ContainerResult) -> list[str]:
    return [line for line in ended.lines if not line.startswith("[projectsetup] ")]


def test_steps_run_one_after_another_in_one_workspace(box: Box) -> None:
    value = "a $(b) $$HOME 'c'\n\"d\" \\n `e` *"
    ended = box(
        step("first", "echo one; pwd; echo kept >file; cd /; ls -d $HOME $TMPDIR"),
        step("second", 'cat file; test ! -s /dev/stdin; printf "%s\\n" "$WORD"', env={"WORD": value}),
        step("third", 'echo "${WORD-unset}"; echo "$PROJECT_NAME" "$PARAM_LICENSE" "$ATTEMPT"; printf end'),
        step("fourth", 'cat "$TMPDIR/../file"'),
    ).run()
    assert ended.code == 0, ended
    assert [line for line in ended.lines if line.startswith("[")] == [
        f"[projectsetup] step {name} ({number}/4)"
        for number, name in enumerate(("first", "second", "third", "fourth"), start=1)
    ]
    workspace = next(line for line in ended.lines if line.endswith("/workspace"))
    assert printed(ended) == [
        *("one", workspace, f"{workspace}/.home", f"{workspace}/.tmp", "kept", *value.splitlines()),
        *("unset", "Näme $(id) $$(HOME) MIT 2", "end", "kept"),
    ]
    assert (ended.report.step, ended.report.exit_code, ended.report.tail) == ("fourth", 0, "")


def test_each_step_finds_its_own_traceparent(box: Box) -> None:
    show = 'echo "${TRACEPARENT-none}"'
    ended = box(
        step("first", show), step("second", show), step("third", show), traceparents={"first": "1", "third": "3"}
    )
    assert printed(ended.run()) == ["1", "none", "3"]


def test_many_and_long_lines_leave_room_for_the_end(box: Box) -> None:
    run = "for i in 1 2 3 4 5 6 7; do head -c 900 /dev/zero | tr '\\0' x; echo; done; echo the end; exit 3"
    ended = box(step("flaky", run, retry={"output": ["xxx"]})).run()
    assert ended.report.matches[0] == "x" * 900
    assert ended.report.tail.endswith("\nthe end\n")
    assert len(ended.message) <= 4096
    run = r"head -c 3000000 /dev/zero | tr '\0' y; printf '\000\377\001'; exit 3"
    ended = box(step("endless", run, retry={"output": ["y$"]})).run()
    assert len(ended.log) > 3000000
    assert len(ended.message) <= 4096
    assert "yyy" in ended.report.tail


@pytest.mark.parametrize(
    ("run", "grace", "exit_code", "tail"),
    [
        ("trap 'echo asked; exit 9' TERM; echo begun; sleep 1000 & wait", None, 9, "begun\nasked\n"),
        ("trap '' TERM; (setsid sleep 1000; true) & sleep 1000; echo alive; sleep 1000; true", 1, 137, ""),
    ],
    ids=["asked", "deaf"],
)
def test_a_step_that_exceeds_its_timeout_receives_sigterm_and_then_sigkill(
    box: Box, run: str, grace: int | None, exit_code: int, tail: str
) -> None:
    container = box(step("slow", run, timeout="1s"))
    container.grace = grace
    ended = container.run()
    assert (ended.code, ended.report.timed_out) == (124, True)
    assert (ended.report.exit_code, ended.report.tail) == (exit_code, tail)


def test_the_last_value_of_each_fact_is_reported(box: Box) -> None:
    ended = box(
        step("first", f"echo CODE_COMMIT={DOCS} >>$STEP_OUTPUTS; printf ' DOCS_COMMIT = {DOCS} ' >>$STEP_OUTPUTS"),
        step("second", f"echo CODE_COMMIT={CODE} >$STEP_OUTPUTS; echo CODE_COMMIT=nonsense >>$STEP_OUTPUTS"),
        step("third", "! grep COMMIT $STEP_OUTPUTS"),
    ).run()
    assert ended.report.outputs == {"CODE_COMMIT": CODE, "DOCS_COMMIT": DOCS}


def test_while_a_step_runs_the_message_names_it_and_nothing_else(box: Box) -> None:
    ended = box(step("first", "echo secret"), step("second", 'sed "s/^/message: /" "$STEP_OUTPUTS"; false')).run()
    assert [line for line in ended.lines if line.startswith("message: ")] == [
        "message: [projectsetup] step second (2/2)"
    ]


def test_the_first_step_that_fails_ends_the_stage(box: Box) -> None:
    ended = box(
        step("good", "echo fine"),
        step("bad", "echo before; echo oops >&2; false; echo never"),
        step("after", "echo never"),
    ).run()
    assert (ended.code, ended.report.step, ended.report.exit_code) == (1, "bad", 1)
    assert "never" not in ended.lines
    assert ended.report.tail == "before\noops\n"
    assert (ended.report.timed_out, ended.report.stopped) == (False, False)


@pytest.mark.parametrize(
    ("run", "codes"),
    [
        ("echo $NOT_SET_AT_ALL", {1, 2, 127}),
        ("exit 75", {75}),
        ("no-such-command-at-all", {127}),
        ("echo $$; kill -KILL $$", {137}),
    ],
)
def test_the_exit_code_of_a_step_is_reported(box: Box, run: str, codes: set[int]) -> None:
    ended = box(step("bad", run)).run()
    assert ended.code == ended.report.exit_code
    assert ended.code in codes


def test_a_step_that_kills_its_process_group_kills_nothing_else(box: Box) -> None:
    ended = box(
        step("good", "echo one; sleep 1000 & trap 'exit 0' TERM; kill 0; wait"),
        step("bad", "echo two; kill 0; sleep 1000"),
    ).run()
    assert printed(ended) == ["one", "two"], ended
    assert (ended.report.step, ended.report.exit_code, ended.report.tail) == ("bad", 143, "two\n")


def test_all_output_reaches_the_log_and_its_end_the_message(box: Box) -> None:
    ended = box(step("loud", "seq 1 200000; exit 3")).run()
    assert printed(ended) == [str(number) for number in range(1, 200001)]
    assert len(ended.message) <= 4096
    tail = ended.report.tail.splitlines()
    assert tail == [str(number) for number in range(200001 - len(tail), 200001)]
    assert len(ended.report.tail) > 3000


def test_lines_that_match_a_retry_pattern_are_reported(box: Box) -> None:
    run = "echo ok; echo 'x: Connection RESET by peer'; printf 'a\\rError 503\\r'; seq 1 5000; exit 3"
    ended = box(step("flaky", run, retry={"output": ["(?i)connection reset", r"^Error 5\d\d$"]})).run()
    assert ended.report.matches == ("x: Connection RESET by peer", "Error 503")
    assert ended.report.tail.endswith("\n4999\n5000\n")
    assert len(ended.message) <= 4096


def test_a_step_that_succeeds_after_sigterm_has_succeeded(box: Box) -> None:
    ended = box(step("slow", "trap 'exit 0' TERM; sleep 1000 & wait", timeout="1s"), step("next", "echo reached")).run()
    assert (ended.code, ended.report.step, ended.report.timed_out) == (0, "next", False)
    assert "reached" in ended.lines


def test_nothing_of_a_step_runs_when_the_next_begins(box: Box) -> None:
    leaving = """
        trap '' TERM HUP
        echo $$ >>pids; sleep 1000 &
        echo $! >>pids
        (setsid sh -c 'echo $$ >>pids; sleep 1001; true' &)
        (setsid sh -c 'echo $$ >>pids; (sleep 1002 & echo $! >>pids); sleep 1003; true' </dev/null >/dev/null 2>&1 &)
        until [ "$(wc -l <pids)" = 5 ]; do sleep 0.1; done
    """
    looking = 'for pid in $(cat pids); do ! kill -0 "$pid" || exit 9; done'
    ended = box(step("leaves", leaving), step("looks", looking)).run()
    assert (ended.code, ended.report.step) == (0, "looks"), ended


def test_processes_that_keep_forking_are_killed_too(box: Box) -> None:
    fleeing = """
        export FLEE='echo x >>hops; sh -c "$FLEE" & exit 0'
        (setsid sh -c "$FLEE" </dev/null >/dev/null 2>&1 &)
        until [ "$(cat hops 2>/dev/null | wc -l)" -gt 20 ]; do sleep 0.1; done
    """
    looking = 'before=$(wc -c <hops); sleep 1; test "$before" = "$(wc -c <hops)"'
    ended = box(step("flees", fleeing), step("looks", looking)).run()
    assert (ended.code, ended.report.step) == (0, "looks"), ended


def stopped_while_it_runs(container: Container) -> ContainerResult:
    """The end of a stage that receives SIGTERM once a step has printed `begun`."""
    running = container.start()
    running.wait_for("\nbegun")
    running.send(signal.SIGTERM)
    return running.end()


def test_the_step_receives_the_sigterm_of_the_pod(box: Box) -> None:
    listening = step("slow", "trap 'echo asked; exit 4' TERM; echo begun; sleep 1000 & wait")
    ended = stopped_while_it_runs(box(listening, step("next", "echo never")))
    assert (ended.code, ended.report.step, ended.report.exit_code) == (4, "slow", 4)
    assert ended.report.tail == "begun\nasked\n"
    assert (ended.report.timed_out, ended.report.stopped) == (False, True)
    assert stopped_while_it_runs(box(step("slow", "echo begun; sleep 1000; true"))).report.exit_code == 143


def test_after_the_sigterm_of_the_pod_success_counts_but_no_other_step_begins(box: Box) -> None:
    succeeding = step("slow", "trap 'exit 0' TERM; echo begun; sleep 1000 & wait")
    assert stopped_while_it_runs(box(succeeding)).code == 0
    ended = stopped_while_it_runs(box(succeeding, step("next", "echo never")))
    assert (ended.code, ended.report.step, ended.report.exit_code, ended.report.stopped) == (143, "next", 143, True)
    assert "never" not in ended.log.decode()


@not_busybox
def test_signals_are_not_ignored(box: Box) -> None:
    """Nothing in busybox can restore SIGINT and SIGQUIT, which its shell ignores."""
    ended = box(step("only", "grep SigIgn /proc/self/status")).run()
    ignored = int(printed(ended)[0].split()[1], 16)
    assert not ignored & (1 << (signal.SIGINT - 1) | 1 << (signal.SIGQUIT - 1) | 1 << (signal.SIGTERM - 1))


def test_steps_see_no_variables_of_the_cluster_or_the_script(box: Box) -> None:
    container = box(step("only", "env; cat /proc/self/cmdline"))
    container.extra = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_PORT_443_TCP": "tcp://10.0.0.1:443"}
    log = container.run().log.decode()
    assert "KUBERNETES" not in log
    assert "stage_" not in log
    assert "WORKSPACE=" in log


HTTPS = {"username": "bob", "password": "p%s'\"$(id)\\ =ä\n"}
TELLS = 'echo "$PROJECT_GIT_USERNAME:$PROJECT_GIT_PASSWORD"; printf "x%sx\\n" "$PROJECT_GIT_PASSWORD"; exit 3'


def test_a_login(box: Box) -> None:
    asking = "printf 'url=https://code.example/x\\n\\n' | GIT_CONFIG_GLOBAL=/dev/null git credential fill"
    if not shutil.which("git"):
        asking = 'printf "username=%s\\npassword=%s\\n" "$PROJECT_GIT_USERNAME" "$PROJECT_GIT_PASSWORD"'
    container = box(step("push", asking, credentials=True), secret=HTTPS)
    container.path += f":{os.environ['PATH']}"
    log = container.run().log.decode()
    assert "username=bob\npassword=p%s'\"$(id)\\ =ä\n" in log


@pytest.mark.parametrize(("secret", "name"), [({"token": "t0ken-of-bob"}, "x-access-token"), (HTTPS, "bob")])
def test_no_secret_is_in_the_message(box: Box, secret: dict[str, str], name: str) -> None:
    ended = box(step("push", TELLS, credentials=True, retry={"output": [name]}), secret=secret).run()
    assert f"{name}:{[*secret.values()][-1].splitlines()[0]}" in ended.lines
    assert ended.report.matches == (f"{name}:***",)
    assert ended.report.tail == f"{name}:***\nx***x\n"


def test_no_part_of_a_secret_is_where_the_message_is_cut(box: Box) -> None:
    run = 'i=0; while [ $i -lt 3000 ]; do printf "%s " "$PROJECT_GIT_PASSWORD"; i=$((i + 1)); done; exit 3'
    ended = box(step("push", run, credentials=True), secret={"token": "0123456789abcdef"}).run()
    assert set(ended.report.tail.split()) <= {"***", "**", "*"}


@pytest.mark.parametrize(
    ("host", "refused"),
    [
        ("code.example docs.example\n", None),
        ("Code.Example:443,docs.example:22", None),
        ("code.example\r\n\tdocs.example", None),
        ("code.example", "docs.example:22"),
        ("code.example:8443 docs.example", "code.example:443"),
        ("xcode.example docs.example", "code.example:443"),
        ("* docs.example", "code.example:443"),
        ("", "code.example:443"),
    ],
)
def test_credentials_are_only_for_the_hosts_that_the_secret_names(box: Box, host: str, refused: str | None) -> None:
    ended = box(
        step("push", 'echo "ran ${PROJECT_GIT_PASSWORD:+with}"', credentials=True), secret={**HTTPS, "host": host}
    )
    lines = printed(ended.run())
    line = f"the credentials Secret does not name {refused} in its key `host`"
    assert lines == (["ran with"] if refused is None else [line])


def test_unknown_output_lines_are_named_in_the_log(box: Box) -> None:
    tells = f"printf 'CODE_COMMIT=abc1234\\nDOCS_COMMIT={DOCS}\\n\\n  other\\001 text\\r\\n' >$STEP_OUTPUTS; echo ran"
    ended = box(step("first", tells), step("second", f"echo CODE_COMMIT={CODE} >$STEP_OUTPUTS")).run()
    assert [line for line in ended.lines if "[projectsetup] step" not in line] == [
        "ran",
        f"{IGNORED_PREFIX}CODE_COMMIT=abc1234",
        f"{IGNORED_PREFIX}other? text",
    ]
    assert ended.report.outputs == {"CODE_COMMIT": CODE, "DOCS_COMMIT": DOCS}


KEY = "-----BEGIN KEY-----\nabcdefgh\n-----END KEY-----"


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "windows"])
def test_an_ssh_key(box: Box, tmp_path: Path, end: str) -> None:
    private = tmp_path / "private"
    show = f"""
        echo "$GIT_SSH_COMMAND"
        [ -z "${{PROJECT_GIT_PASSWORD-}}" ]
        for file in {private}/key {private}/known_hosts; do cat "$file"; ls -l "$file"; done
        exit 3
    """
    ended = box(
        step("push", show, credentials=True),
        secret={"ssh-privatekey": KEY.replace("\n", end), "known_hosts": f"code.example ssh-ed25519 AAAA{end}"},
    ).run()
    log = ended.log.decode()
    assert f'IdentityFile="{private}/key"' in log
    assert f"{KEY}\n-rw-------" in log
    assert "code.example ssh-ed25519 AAAA\n-rw-------" in log
    assert "\r" not in log
    assert "abcdefgh" not in ended.message.decode()
    assert [path.name for path in private.iterdir()] == ["stage"]


def test_each_step_with_credentials_has_a_fresh_home(box: Box, tmp_path: Path) -> None:
    leaving = """
        echo "$HOME $TMPDIR $PATH" | tr ' ' '\n'
        test -z "$(ls -A "$HOME" "$TMPDIR" | grep -v :)"
        mkdir -p "$HOME/bin/deep"
        touch "$HOME/.gitconfig" "$TMPDIR/x"
        ln -s "$WORKSPACE" "$HOME/link"
        chmod 500 "$HOME/bin"
        pwd
    """
    steps = [step(name, leaving, credentials=True) for name in ("first", "second")]
    container = box(*steps, secret=HTTPS)
    container.path = f"{tmp_path}/setup/workspace/bin:bin::{container.path}:{tmp_path}/setup/x:."
    ended = container.run()
    assert ended.code == 0, ended
    fresh, workspace = tmp_path / "fresh", tmp_path / "setup" / "workspace"
    clean = [entry for entry in container.path.split(":")[3:-2] if entry.startswith("/")]
    expected = [str(fresh / "home"), str(fresh / "tmp"), ":".join(clean), str(workspace)]
    assert [line for line in printed(ended) if line] == expected * 2
    assert not (tmp_path / "setup" / "stage").exists()


def test_no_step_with_credentials_runs_in_a_symlinked_workspace(box: Box, tmp_path: Path) -> None:
    container = box(step("push", "echo reached", credentials=True), secret=HTTPS)
    (tmp_path / "setup").mkdir()
    (tmp_path / "setup" / "workspace").symlink_to(tmp_path)
    ended = container.run()
    assert (ended.code, ended.lines[-1]) == (125, "[projectsetup] the workspace was replaced by a symbolic link")


@pytest.mark.parametrize(
    "key",
    [
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0\n-----END",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\r\nMIIE\r\n-----END",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES\n-----END",
    ],
)
def test_an_ssh_key_with_a_passphrase_is_refused(box: Box, key: str) -> None:
    ended = box(step("push", "echo ran", credentials=True), secret={"ssh-privatekey": key, "known_hosts": "x"}).run()
    assert printed(ended) == [
        "ssh-privatekey in the credentials Secret has a passphrase, which the operator cannot type"
    ]
    assert ended.report.exit_code == 1


def test_steps_without_credentials_get_none(box: Box) -> None:
    ended = box(step("only", "env"), secret=HTTPS).run()
    assert "PROJECT_GIT" not in ended.log.decode()
    assert 'IdentityFile="/dev/null"' in ended.log.decode()


def test_it_refuses_to_run_outside_of_a_container(shell: tuple[str, ...]) -> None:
    done = subprocess.run(
        [*shell, "-c", STAGE_SCRIPT, "stage"], capture_output=True, check=False, timeout=LIMIT, text=True
    )
    assert (done.returncode, done.stdout) == (125, "[projectsetup] a stage must be process 1 of its container\n")


@needs_mounts
@pytest.mark.parametrize(
    ("options", "run", "volume"),
    [
        ("size=1m", "head -c 2000000 /dev/zero >file", Volume(full=True)),
        ("nr_inodes=40", "i=0; while :; do i=$((i + 1)); : >file-$i; done", Volume(full=True)),
        ("size=9m,noexec", "printf '#!/bin/sh\n' >file; chmod +x file; ./file", Volume(no_exec=True)),
        ("size=9m", "exit 1", Volume()),
    ],
)
def test_what_is_wrong_with_the_file_system_of_the_workspace_is_reported(
    box: Box, tmp_path: Path, options: str, run: str, volume: Volume
) -> None:
    with mounted(tmp_path / "setup", options):
        ended = box(step("install", run)).run()
        assert ended.report.exit_code not in (0, 125)
        assert ended.report.volume == volume


@not_busybox
def test_a_missing_command_is_named(box: Box, tmp_path: Path) -> None:
    """Busybox contains all of them."""
    container = box(step("only", "true"))
    container.path = str(tmp_path)
    ended = container.run()
    assert (ended.code, ended.log) == (125, b"[projectsetup] the image has no awk\n")
