"""Pushes to repositories that are empty, already ours, somebody else's, unreachable or forbidden."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from projectsetup.recipes.commands.errors import CommandError
from projectsetup.recipes.commands.remote import RemoteState
from tests.support.push_workspace import CODE, DOCS, RECIPE, PushWorkspace, git
from tests.support.recipe_steps import Attempt, parameters

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def stage(tmp_path: Path) -> PushWorkspace:
    return PushWorkspace(tmp_path)


def test_pushing_to_empty_repositories_twice(stage: PushWorkspace) -> None:
    commits = {"CODE_COMMIT": stage.commit("code"), "DOCS_COMMIT": stage.commit("docs")}
    assert stage.push() == (0, f"documentation repository: pushed {stage.commit('docs')}", commits)
    assert stage.references(CODE) == f"{stage.commit('code')} refs/heads/main"
    assert stage.push() == (0, f"documentation repository: already has {stage.commit('docs')}", commits)


def test_other_branches_are_ignored_after_the_push(stage: PushWorkspace) -> None:
    stage.push()
    stage.put_foreign(CODE, "refs/heads/feature")
    assert stage.push()[0] == 0


def test_without_a_documentation_repository(stage: PushWorkspace) -> None:
    exit_code, line, outputs = stage.push(docs="")
    assert (exit_code, outputs) == (0, {"CODE_COMMIT": stage.commit("code")})
    assert line == "documentation repository: none, nothing to push"
    assert stage.references(DOCS) == ""


@pytest.mark.parametrize("reference", ["refs/heads/main", "refs/heads/develop", "refs/tags/v1"])
def test_other_history_is_never_overwritten(stage: PushWorkspace, reference: str) -> None:
    before = stage.put_foreign(CODE, reference)
    exit_code, line, outputs = stage.push()
    assert (exit_code, outputs) == (1, {})
    assert line.startswith("push: code repository: it has other history, which is never overwritten")
    assert reference in line
    assert stage.references(CODE) == before


def test_commits_on_top_of_ours_are_other_history(stage: PushWorkspace) -> None:
    stage.push()
    before = stage.put_foreign(CODE, parents=(stage.commit("code"),))
    assert stage.push()[0] == 1
    assert stage.references(CODE) == before


def test_other_history_in_one_repository_prevents_every_push(stage: PushWorkspace) -> None:
    stage.put_foreign(DOCS)
    exit_code, line, outputs = stage.push()
    assert (exit_code, outputs) == (1, {})
    assert line.startswith("push: documentation repository: ")
    assert stage.references(CODE) == ""


def test_history_that_appears_before_the_push_stays(stage: PushWorkspace) -> None:
    remote = stage.remote()
    assert remote.state() is RemoteState.EMPTY
    before = stage.put_foreign(CODE)
    with pytest.raises(CommandError, match="has other history"):
        remote.push()
    assert stage.references(CODE) == before


def test_a_push_that_fails_because_the_same_commit_just_arrived_is_success(stage: PushWorkspace) -> None:
    stage.put_hook(CODE, "update", 'git update-ref "$1" "$3"; exit 1')
    stage.remote().push()
    assert stage.references(CODE) == f"{stage.commit('code')} refs/heads/main"


def test_server_messages_of_a_successful_push_are_printed(stage: PushWorkspace) -> None:
    stage.put_hook(CODE, "post-receive", "echo 'open a merge request at https://git.example/x'")
    assert stage.push()[0] == 0
    assert "remote: open a merge request at https://git.example/x" in map(str.strip, stage.printed.splitlines())


def test_the_code_commit_is_reported_when_the_documentation_fails(stage: PushWorkspace) -> None:
    hook = stage.put_hook(DOCS, "pre-receive", "exit 1")
    assert stage.push()[2] == {"CODE_COMMIT": stage.commit("code")}
    hook.unlink()
    exit_code, _, outputs = stage.push()
    assert exit_code == 0
    assert outputs == {"CODE_COMMIT": stage.commit("code"), "DOCS_COMMIT": stage.commit("docs")}


@pytest.mark.parametrize("url", ["--upload-pack=touch pwned", "-x"])
def test_a_url_that_looks_like_an_option(stage: PushWorkspace, url: str) -> None:
    exit_code, line, _ = stage.push(code=url)
    assert (exit_code, line) == (1, "push: code repository: its URL begins with '-'")
    assert not list(stage.place.rglob("pwned"))


def test_a_protocol_that_is_not_allowed(stage: PushWorkspace) -> None:
    exit_code, line, _ = stage.push(code="ext::sh -c touch% pwned")
    assert exit_code == 1
    assert "transport 'ext' not allowed" in line
    assert not list(stage.place.rglob("pwned"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository to another user")
def test_a_local_repository_of_another_user_is_not_trusted(stage: PushWorkspace) -> None:
    for path in (stage.place / CODE, *(stage.place / CODE).rglob("*")):
        os.chown(path, 65534, 65534)
    exit_code, line, _ = stage.push()
    assert exit_code == 1
    assert "dubious ownership" in line


def test_an_unreachable_server_is_retryable(stage: PushWorkspace) -> None:
    exit_code, line, _ = stage.push(code="http://127.0.0.1:9/team/code.git")
    assert exit_code == 75
    assert "127.0.0.1" in line
    exit_code, _, outputs = stage.push(docs="http://127.0.0.1:9/team/docs.git")
    assert (exit_code, outputs) == (75, {})
    assert stage.references(CODE) == ""


def test_another_branch(stage: PushWorkspace) -> None:
    for name in ("code", "docs"):
        git(stage.place / "workspace" / name, "branch", "--move", "main", "team/trunk")
    step = RECIPE.steps[-1]
    variables = {"CODE_REPO": stage.url(CODE), "DOCS_REPO": ""}
    attempt = Attempt(stage.place / "workspace", variables | parameters(RECIPE))
    assert attempt.run(step) == 1
    assert attempt.printed[-1] == "push: code: there is no branch main; nothing was committed\n"
    attempt = Attempt(stage.place / "workspace", variables | parameters(RECIPE, branch="team/trunk"))
    assert attempt.run(step) == 0, attempt.printed
    commit = git(stage.place / "workspace" / "code", "rev-parse", "team/trunk")
    assert stage.references(CODE) == f"{commit} refs/heads/team/trunk"
    assert attempt.outputs == {"CODE_COMMIT": commit}
    for wrong in ("--force", "-x", "a..b", "../main", "refs@{0}"):
        assert attempt.run(step.model_copy(update={"run": f"{step.run} --branch={wrong}"})) == 2


PUSH_RULE = r"""
while read old new reference; do
  git log --format='%an <%ae> %cn <%ce>' "$new" | grep -qvx '\(Robot <robot@acme.example> *\)*' || continue
  echo "unknown author"
  exit 1
done"""
BY_ROBOT = {"author_name": "Robot", "author_email": "robot@acme.example"}


def test_the_ids_of_commits_are_those_of_earlier_versions(stage: PushWorkspace) -> None:
    """A setup retried after an upgrade must find its own commit in the remote."""
    assert stage.commit("code") == "50b675f08d177105b650585ca98a0e15902baac5"


def test_a_host_that_refuses_unknown_authors(stage: PushWorkspace) -> None:
    stage.put_hook(CODE, "pre-receive", PUSH_RULE)
    assert stage.push(docs="")[0] == 1
    assert "remote: unknown author" in map(str.strip, stage.printed.splitlines())
    ids = [stage.commit_again(**BY_ROBOT), stage.commit_again(**BY_ROBOT)]
    assert ids[0] == ids[1]
    exit_code, _, outputs = stage.push(docs="")
    assert (exit_code, outputs) == (0, {"CODE_COMMIT": ids[0]})


def test_a_new_repository_whose_head_is_master_is_checked_out_if_the_branch_is_master(stage: PushWorkspace) -> None:
    git(stage.place / CODE, "symbolic-ref", "HEAD", "refs/heads/master")
    stage.commit_again(branch="master")
    assert stage.push(docs="", branch="master")[0] == 0
    git(stage.place, "clone", "--quiet", stage.url(CODE), "clone")
    assert (stage.place / "clone" / "file").read_text() == "code"


def test_history_in_packs_and_packed_references(stage: PushWorkspace) -> None:
    folder = stage.place / "workspace" / "code"
    for number in range(3):
        (folder / "file").write_text(f"{number}\n" * 1000)
        git(folder, "-c", "user.name=a", "-c", "user.email=a@example.test", "commit", "-qam", str(number))
    git(folder, "gc", "--quiet")
    assert not (folder / ".git" / "refs" / "heads" / "main").exists()
    assert stage.push()[0] == 0
    assert git(stage.place / CODE, "rev-list", "--count", "main") == "4"
    assert stage.references(CODE) == f"{stage.commit('code')} refs/heads/main"


@pytest.fixture
def endless() -> Iterator[str]:
    """A server whose list of branches never ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
            self.end_headers()
            self.wfile.write(b"001e# service=git-upload-pack\n0000")
            try:
                for number in range(2**40):
                    line = f"{number:040x} refs/heads/{number:0200d}\n"
                    self.wfile.write(f"{len(line) + 4:04x}{line}".encode() * 1000)
            except OSError:
                return  # the client has hung up

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
            """Nothing is logged."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/team/code.git"
        server.shutdown()
        thread.join()


def test_a_server_whose_list_never_ends(stage: PushWorkspace, endless: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """git keeps the whole list in memory: its allocations are bounded."""
    monkeypatch.setattr("projectsetup.recipes.commands.remote._MEMORY", 64 * 1024 * 1024)
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "http")
    remote = replace(stage.remote(), url=endless)
    with pytest.raises(CommandError) as caught:
        remote.state()
    assert caught.value.exit_code == 1


def test_too_many_branches(stage: PushWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        stage.put_foreign(CODE, f"refs/heads/branch-{number}")
    monkeypatch.setattr("projectsetup.recipes.commands.remote.LISTED_BYTES", 1000)
    with pytest.raises(CommandError, match="it has too many branches and tags"):
        stage.remote().state()
