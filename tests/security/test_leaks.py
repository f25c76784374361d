"""A secret that a step prints does not leak.

The attacker may read everything that is published about a setup: status, events, the operator's log and metrics, the
record, Jobs and pods; but neither the Secret nor the logs of pods. A careless step prints its secret in every form in
which tools print such values. (A step that leaks it on purpose can: see docs/security.md.)
"""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from projectsetup.engines.kubernetes_job.manifest import job_manifest
from projectsetup.engines.kubernetes_job.outcome import pod_outcome
from projectsetup.engines.kubernetes_job.plan import Plan
from projectsetup.engines.kubernetes_job.pod import PodSettings
from projectsetup.setup.credentials import GitCredentials, HttpsLogin
from projectsetup.setup.scrub import Scrubber
from projectsetup.setup.types import InfrastructureError, SetupFailed
from tests.support.job_attempts import make_attempt, make_recipe
from tests.support.operator_sandbox import NewSandbox, Sandbox, message
from tests.support.setup_handle import Setup
from tests.support.stage_container import Container, containers, has_namespaces

USERNAME: Final = "robot"
PASSWORD: Final = "p%s'\"$(id)\\ =ä&7<k>0123456789abcdefABCDEFGHIJ"
KEY_LINES: Final = [
    base64.b64encode(hashlib.sha512(str(number).encode()).digest()[:51]).decode() for number in range(20)
]
KEY: Final = "\n".join(["-----BEGIN OPENSSH PRIVATE KEY-----", *KEY_LINES, "-----END OPENSSH PRIVATE KEY-----"])
HOSTS: Final = "git.example.test ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"
HEART: Final = "0123456789abcdefABCDEFGHIJ"
"""The part of the password that no escape changes."""

FORMS: Final = r"""
import base64, html, json, os, shlex, sys, textwrap, urllib.parse
password = os.environ["PROJECT_GIT_PASSWORD"]
for padding in range(0, 60, 7):
    whole = f"{'-' * padding}user:{password}@host".encode()
    print(base64.encodebytes(whole).decode())
    print("\n".join(textwrap.wrap(base64.urlsafe_b64encode(whole).decode(), 64)))
    print("\n".join(textwrap.wrap(whole.hex(), 60)))
    print("\n".join(textwrap.wrap("x" * padding + password, 20)))
print(password.encode().hex().upper(), password.encode().hex(" "), ", ".join(map(hex, password.encode())))
print(json.dumps({"password": password}), json.dumps(json.dumps(password)), json.dumps(password, ensure_ascii=False))
print(html.escape(password), "".join(f"&#{ord(c)};" for c in password), "".join(f"&#x{ord(c):x};" for c in password))
print(shlex.quote(password), repr(password), "".join(f"\\x{byte:02x}" for byte in password.encode()))
print("".join(f"\\u{ord(c):04x}" for c in password))
print(urllib.parse.quote(password, safe=""), "".join(f"%{byte:02X}" for byte in password.encode()))
print(urllib.parse.quote(urllib.parse.quote(password, safe=""), safe=""))
print(f"Authorization: Basic {base64.b64encode(password.encode()).decode()}")
print("z" * (8192 - 20) + password)
for part in (password[:-1], password[1:], password[:30]):
    sys.stdout.write(part); sys.stdout.flush()
    sys.stdout.write("\n")
print("the end: " + password)
"""


def letters(text: str) -> str:
    """What is the same however the text is quoted, wrapped or spaced."""
    return "".join(filter(str.isalnum, text)).lower()


def parts(text: str, length: int) -> set[str]:
    return {text[at : at + length] for at in range(len(text) - length + 1)}


def leaked(text: str) -> set[str]:
    """Parts of the password, in any form, that the text contains."""
    known = {part for form in all_forms() for part in parts(form, 10)}
    return known & parts(letters(text), 10)


def all_forms() -> set[str]:
    raw = HEART.encode()
    encoded = [base64.b64encode(b"-" * at + raw).decode()[4:-4] for at in range(3)]
    by_number = [form.join(["", *(f"{ord(c):x}" for c in HEART)]) for form in ("x", "u00")]
    return {letters(form) for form in (HEART, raw.hex(), *encoded, *by_number, "".join(str(ord(c)) for c in HEART))}


@pytest.fixture
def sandbox(new_sandbox: NewSandbox) -> Iterator[Sandbox]:
    with new_sandbox() as sandbox:
        sandbox.operator.start()
        yield sandbox


def test_a_local_step_that_prints_its_secret_in_every_form(sandbox: Sandbox) -> None:
    secret = sandbox.secret(username=USERNAME, password=PASSWORD, ssh_privatekey=KEY, known_hosts=HOSTS)
    script = f"""
        cat >forms.py <<'END'\n{FORMS}\nEND
        python forms.py; key=$(expr "$GIT_SSH_COMMAND" : '.*IdentityFile="\\([^"]*\\)"')
        cat "$key"; grep -v -- ----- "$key"; tr -d '\\n' <"$key"; base64 "$key"; od -An -tx1 "$key"
        python forms.py; exit 3
    """
    project = sandbox.project(code_repo="https://git.example.test/team/code.git")
    setup = Setup.make(sandbox, "scripts", project=project, spec={"credentialsSecretRef": secret}, second=script)
    why, status = setup.ended()
    assert why == "StepFailed"
    assert "exit code 3" in message(status)
    published = sandbox.published_texts()
    assert "the end: ***" in published["log"]
    for place, text in published.items():
        assert not leaked(text), f"in the {place}"
        for line in KEY_LINES:
            for form in (line, line.encode().hex(), base64.b64encode(line.encode()).decode()[:-4]):
                assert not parts(letters(form), 16) & parts(letters(text), 16), f"of the key, in the {place}"


@pytest.mark.skipif(not has_namespaces(), reason="this user may not make PID namespaces")
@pytest.mark.parametrize("cut_at", range(0, 60, 3))
def test_a_job_stage_whose_report_is_cut_inside_the_secret(tmp_path: Path, cut_at: int) -> None:
    """The operator reads its termination message, scrubs it, and writes it to `.status` and the record."""
    script = f"cat >forms.py <<'END'\n{FORMS}\nEND\npython3 forms.py; printf '%0{cut_at}d' 0; exit 3"
    credentials = GitCredentials(HttpsLogin(USERNAME, PASSWORD))
    recipe = make_recipe({"name": "push", "run": script, "credentials": True})
    attempt = make_attempt(recipe, credentials_secret="git", credentials=credentials)
    (spec,) = containers(attempt)
    shell = shutil.which("dash") or "sh"
    secret = {"username": USERNAME, "password": PASSWORD}
    ended = Container(tmp_path, spec, (shell,), secret=secret).run()
    terminated = {"exitCode": ended.code, "message": ended.message.decode("utf-8", "replace"), "reason": "Error"}
    status = {"containerStatuses": [{"name": "push", "state": {"terminated": terminated}}]}
    outcome = pod_outcome(
        job_manifest(attempt, PodSettings()),
        {"metadata": {"name": "pod"}, "status": status},
        plan=Plan.of(recipe, attempt.timeout),
        scrubber=Scrubber(credentials.secrets),
        at_step="push",
    )
    assert isinstance(outcome, SetupFailed | InfrastructureError)
    assert "the end: ***" in str(getattr(outcome, "message", outcome))
    assert not leaked(str(getattr(outcome, "message", outcome)))
