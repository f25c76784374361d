"""Credentials in a Secret."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest

from projectsetup.setup.credentials import GitCredentials, HttpsLogin, InvalidCredentials, SshKey

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----"
HOSTS = "host ssh-ed25519 AAAAC3Nz"
ANY_TEXT = "pass\u00a0word \u00ad👩\u200d👧"


def secret(**values: str) -> dict[str, str]:
    return {key.replace("__", "-"): base64.b64encode(value.encode()).decode() for key, value in values.items()}


@pytest.mark.parametrize(
    ("data", "credentials"),
    [
        (secret(username="bob", password="pa:ss wörd"), GitCredentials(https=HttpsLogin("bob", "pa:ss wörd"))),
        (secret(username="bob\n", password="pass\r\n"), GitCredentials(https=HttpsLogin("bob", "pass"))),
        (secret(username="bob", password=ANY_TEXT), GitCredentials(https=HttpsLogin("bob", ANY_TEXT))),
        (secret(token="t0ken\n"), GitCredentials(https=HttpsLogin("x-access-token", "t0ken"))),
        (secret(username="oauth2", token="t0ken"), GitCredentials(https=HttpsLogin("oauth2", "t0ken"))),
        (secret(ssh__privatekey=KEY, known_hosts=HOSTS), GitCredentials(ssh=SshKey(f"{KEY}\n", f"{HOSTS}\n"))),
        (
            secret(token="t0ken", ssh__privatekey=f"{KEY}\n\n", known_hosts=HOSTS, other="x"),
            GitCredentials(HttpsLogin("x-access-token", "t0ken"), SshKey(f"{KEY}\n", f"{HOSTS}\n")),
        ),
    ],
)
def test_valid_secrets(data: dict[str, str], credentials: GitCredentials) -> None:
    assert GitCredentials.from_secret(data) == credentials


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "must hold username and password, token, or ssh-privatekey and known_hosts"),
        (secret(other="x"), "must hold username and password"),
        (secret(username="", password="", token=""), "must hold username and password"),
        (secret(password="hunter2"), "holds a password and no username"),
        (secret(username="bob"), "holds a username and neither password nor token"),
        (secret(username="bob", password="hunter2", token="x"), "either password or token, not both"),
        (secret(ssh__privatekey=KEY), "holds ssh-privatekey and no known_hosts"),
        (secret(known_hosts=HOSTS), "holds known_hosts and no ssh-privatekey"),
        (secret(username="bob", password="hunter2\nhost=evil"), "password in .* must be one line of printable text"),
        (secret(username="bob", password="hunter2\0"), "password in .* must not contain a NUL character"),
        (secret(token="hunter2", host=" \n"), "host in .* is empty; name the hosts, or remove the key"),
        (secret(token="hunter2", host="https://x"), "host in .*: 'https://x' is not a host"),
        ({"token": "%%%hunter2"}, "token in .* is not base64 of UTF-8 text"),
        ({"token": base64.b64encode(b"\xff\xfehunter2").decode()}, "token in .* is not base64 of UTF-8 text"),
    ],
)
def test_invalid_secrets_are_described_in_one_line_without_values(data: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidCredentials, match=message) as caught:
        GitCredentials.from_secret(data)
    text = str(caught.value)
    assert "\n" not in text
    assert "hunter2" not in text
    assert KEY not in text


KINDS = {
    "ed25519": ["-t", "ed25519"],
    "rsa": ["-t", "rsa", "-b", "2048"],
    "PEM": ["-t", "rsa", "-b", "2048", "-m", "PEM"],
    "PKCS8": ["-t", "ecdsa", "-m", "PKCS8"],
}
needs_ssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


def new_key(folder: Path, kind: str, passphrase: str) -> str:
    command = ["ssh-keygen", "-q", *KINDS[kind], "-N", passphrase, "-f", str(folder / "key")]
    subprocess.run(command, check=True)
    return (folder / "key").read_text()


@needs_ssh
@pytest.mark.parametrize("kind", KINDS)
def test_a_key_with_windows_line_ends_works(tmp_path: Path, kind: str) -> None:
    key = new_key(tmp_path, kind, "")
    written = secret(ssh__privatekey=key.replace("\n", "\r\n"), known_hosts=f"{HOSTS}\r\n")
    assert GitCredentials.from_secret(written) == GitCredentials(ssh=SshKey(key, f"{HOSTS}\n"))


@needs_ssh
@pytest.mark.parametrize("kind", KINDS)
def test_a_key_with_a_passphrase_is_refused(tmp_path: Path, kind: str) -> None:
    key = new_key(tmp_path, kind, "open sesame")
    for written in (key, key.replace("\n", "\r\n")):
        with pytest.raises(InvalidCredentials, match=r"ssh-privatekey in .* has a passphrase, which the operator"):
            GitCredentials.from_secret(secret(ssh__privatekey=written, known_hosts=HOSTS))


def test_non_keys_and_hardware_token_keys_are_refused() -> None:
    with pytest.raises(InvalidCredentials, match="is not a private key"):
        GitCredentials.from_secret(secret(ssh__privatekey="ssh-ed25519 AAAAC3Nz me", known_hosts=HOSTS))
    for padding in range(3):
        body = base64.encodebytes(b"x" * (60 + padding) + b"sk-ssh-ed25519@openssh.com" + b"y" * 60).decode()
        key = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{body}-----END OPENSSH PRIVATE KEY-----\n"
        with pytest.raises(InvalidCredentials, match="needs a hardware token"):
            GitCredentials.from_secret(secret(ssh__privatekey=key, known_hosts=HOSTS))


def test_credentials_are_limited_to_the_hosts_in_the_secret() -> None:
    anywhere = GitCredentials.from_secret(secret(token="t0ken"))
    anywhere.check_hosts(("https://one.example/a", "git@two.example:b"))
    some = GitCredentials.from_secret(secret(token="t0ken", host="One.example, two.example:22\n"))
    some.check_hosts(("https://one.example:8443/a", "git@two.example:b", "/srv/a.git"))
    for url in ("https://two.example/b", "https://one.example.evil.example/a", "git@three.example:c"):
        with pytest.raises(
            InvalidCredentials, match=r"does not name .*(two.example:443|evil.example:443|three.example:22)"
        ):
            some.check_hosts(("https://one.example/a", url))


def test_repr_shows_no_secret() -> None:
    credentials = GitCredentials(HttpsLogin("bob", "hunter2"), SshKey(KEY, HOSTS))
    assert "hunter2" not in repr(credentials)
    assert "b3Bl" not in repr(credentials)
    assert credentials.secrets == ("hunter2", "bob:hunter2", KEY)
