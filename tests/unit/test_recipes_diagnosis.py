"""What git, curl and ssh report about remotes: does it need a person, or only time? As the real programs print it."""

from __future__ import annotations

import pytest

from projectsetup.recipes.commands.diagnosis import HttpResponse as Http
from projectsetup.recipes.commands.diagnosis import HttpTrace, SshLog, Transcript, diagnose
from projectsetup.recipes.commands.errors import CommandError

URL = "https://git.example/team/app.git"
SSH_URL = "ssh://git@git.example/team/app.git"
SSH_END = (
    "fatal: Could not read from remote repository.\n\n"
    "Please make sure you have the correct access rights\nand the repository exists.\n"
)
HUNG_UP = "send-pack: unexpected disconnect while reading sideband packet\nfatal: the remote end hung up unexpectedly\n"
NO_TUNNEL = "CONNECT tunnel failed, response 503"
SIGNED_IN = (
    "OpenSSH_9.2p1 Debian-2+deb12u6, OpenSSL 3.0.19 27 Jan 2026",
    "debug1: Connection established.",
    'Authenticated to git.example ([192.0.2.1]:22) using "publickey".',
)
CHANGED_HOST_KEY = (
    "debug1: Connection established.",
    "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@",
    "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @",
    "Someone could be eavesdropping on you right now (man-in-the-middle attack)!",
    "Offending ED25519 key in /tmp/kh:1",
    "Host key for git.example has changed and you have requested strict checking.",
    "Host key verification failed.",
)


def https(errors: str, response: Http | None = None, url: str = URL) -> Transcript:
    return Transcript(url, errors, response=response)


def unable(words: str, response: Http | None = None, url: str = URL) -> Transcript:
    return https(f"fatal: unable to access '{url}/': {words}\n", response, url)


def ssh(*log: str, errors: str = SSH_END, url: str = SSH_URL) -> Transcript:
    return Transcript(url, errors, ssh=log)


def rejected(reason: str, errors: str = "", *, kind: str = "remote rejected", response: int = 200) -> Transcript:
    pushed = f"To {URL}\n!\trefs/heads/main:refs/heads/main\t[{kind}] ({reason})\nDone\n"
    return Transcript(URL, f"{errors}error: failed to push some refs to '{URL}'\n", pushed, Http(response))


NEEDS_A_PERSON = [
    https(f"fatal: could not read Username for '{URL}': terminal prompts disabled\n", Http(401)),
    https(f"remote: Invalid username or password.\nfatal: Authentication failed for '{URL}/'\n", Http(401)),
    unable("The requested URL returned error: 403", Http(403)),
    unable("The requested URL returned error: 301", Http(301)),
    https(f"fatal: repository '{URL}/' not found\n", Http(404)),
    https(f"error: RPC failed; HTTP 403 curl 22 The requested URL returned error: 403\n{HUNG_UP}", Http(403)),
    https(f"remote: Permission to team/app.git denied to robot.\nfatal: unable to access '{URL}/'\n", Http(403)),
    https(f"fatal: {URL}/info/refs not valid: is this a git repository?\n", Http(200)),
    unable("CONNECT tunnel failed, response 403", Http(403, from_proxy=True)),
    unable("CONNECT tunnel failed, response 407", Http(407, from_proxy=True)),
    unable("SSL certificate problem: self-signed certificate"),
    unable("server certificate verification failed. CAfile: /etc/ssl/certs/ca-certificates.crt CRLfile: none"),
    unable("Problem with the SSL CA cert (path? access rights?)"),
    unable("The requested URL returned error: 501", Http(501)),
    ssh("debug1: Connection established.", "robot@git.example: Permission denied (publickey)."),
    ssh('Load key "/private/key": error in libcrypto', "git@git.example: Permission denied (publickey)."),
    ssh("Received disconnect from 192.0.2.1 port 22:2: Too many authentication failures"),
    ssh(*CHANGED_HOST_KEY),
    ssh("Unable to negotiate with 192.0.2.1 port 22: no matching host key type found. Their offer: ssh-dss"),
    ssh(*SIGNED_IN, "debug1: Exit status 1", errors=f"ERROR: Repository not found.\n{SSH_END}"),
    ssh(*SIGNED_IN, "debug1: Exit status 128", errors=f"fatal: '/srv/a.git' does not appear to be a git\n{SSH_END}"),
    ssh(*SIGNED_IN, errors="fatal: protocol error: bad line length character: Welc\n"),
    Transcript("file:///a", "fatal: detected dubious ownership in repository at '/a'\nhung up unexpectedly\n"),
    Transcript("ext::sh", "fatal: transport 'ext' not allowed\n"),
    rejected("pre-receive hook declined"),
    rejected("pre-receive hook declined", "remote: the connection timed out, internal server error\n"),
    rejected("push declined due to repository rule violations"),
    rejected("protected branch hook declined"),
    rejected("fetch first", kind="rejected"),
    https("fatal: something never seen before\n"),
    https(""),
]
SHA256 = "fatal: the receiving end does not support this repository's hash algorithm\n"
DENIED = f"FATAL: W any team/timed out robot DENIED by fallthru\n{SSH_END}"
NOT_FOUND = f"Warning: welcome\nERROR: Repository not found.\n{SSH_END}"
NEEDS_A_PERSON += [
    https(f"{SHA256}fatal: the remote end hung up unexpectedly\n", Http(200)),
    Transcript("file:///srv/s.git", f"{SHA256}fatal: the remote end hung up unexpectedly\n"),
    https("fatal: mismatched algorithms: client sha1; server sha256\n", Http(200)),
]
TIMEOUT = "https://timed-out.example/team/early eof timed out.git"
NEEDS_A_PERSON += [  # the names in these would pass
    https(f"fatal: repository '{TIMEOUT}/' not found\n", Http(404), TIMEOUT),
    unable("SSL certificate problem: self-signed certificate", url="https://git.example/timed out.git"),
    Transcript("file:///srv/timed out.git", "fatal: no access to /srv/timed out.git\n"),
    ssh(*SIGNED_IN, "debug1: Exit status 1", errors=DENIED, url="git@git.example:team/timed out.git"),
    Transcript("file:///a", "remote: temporarily unavailable, timed out\nfatal: nobody knows\n"),
]
NEEDS_TIME = [
    unable("Could not resolve host: git.example"),
    unable("Could not resolve host: certificate.example", url="https://certificate.example/a.git"),
    unable("CommandFailed to connect to git.example port 443 after 0 ms: Couldn't connect to server"),
    unable("GnuTLS recv error (-110): The TLS connection was non-properly terminated.", Http(200)),
    unable("gnutls_handshake() failed: The TLS connection was non-properly terminated."),
    unable("OpenSSL SSL_read: error:0A000126:SSL routines::unexpected eof while reading, errno 0"),
    unable("OpenSSL SSL_connect: SSL_ERROR_SYSCALL in connection to git.example:443"),
    unable(NO_TUNNEL, Http(503, from_proxy=True)),
    unable("Proxy CONNECT aborted"),
    unable("Operation timed out after 300000 milliseconds with 0 bytes received"),
    unable("HTTP/2 stream 0 was not closed cleanly: INTERNAL_ERROR (err 2)"),
    *(unable(f"The requested URL returned error: {status}", Http(status)) for status in (408, 429, 500, 502, 503)),
    https(f"error: RPC failed; HTTP 503 curl 22 The requested URL returned error: 503\n{HUNG_UP}", Http(503)),
    https(f"error: RPC failed; curl 92 HTTP/2 stream 5 was not closed cleanly: CANCEL (err 8)\n{HUNG_UP}"),
    https(f"error: RPC failed; curl 56 GnuTLS recv error (-110): The TLS connection was …\n{HUNG_UP}", Http(200)),
    https(HUNG_UP, Http(200)),
    https("fetch-pack: unexpected disconnect while reading sideband packet\nfatal: early EOF\n", Http(200)),
    ssh("ssh: connect to host git.example port 22: Network is unreachable"),
    ssh("ssh: Could not resolve hostname git.example: Name or service not known"),
    ssh("kex_exchange_identification: Connection closed by remote host", "Connection closed by 192.0.2.1 port 22"),
    ssh(*SIGNED_IN, "client_loop: send disconnect: Broken pipe"),
    ssh(*SIGNED_IN, "debug1: Exit status -1"),
    ssh(*SIGNED_IN, "debug1: Exit status 1", errors=f"ERROR: Internal server error\n{SSH_END}"),
    rejected("Internal Server Error"),
    rejected("failed to update ref"),
    rejected("n/a (unpacker error)"),
    rejected("remote failed to report status", kind="remote failure"),
    Transcript(errors="fatal: sha1 file write error: No space left on device\n"),
]


@pytest.mark.parametrize(
    ("transcript", "exit_code"),
    [(case, 1) for case in NEEDS_A_PERSON] + [(case, 75) for case in NEEDS_TIME],
)
def test_the_exit_code_follows_from_what_is_known(transcript: Transcript, exit_code: int) -> None:
    error = diagnose("code repository", transcript)
    assert error.exit_code == exit_code, error
    assert str(error).startswith("code repository: ")
    assert "\n" not in str(error)


def words(error: CommandError) -> str:
    return str(error).removeprefix("code repository: ")


@pytest.mark.parametrize(
    ("transcript", "message"),
    [
        (rejected("pre-receive hook declined", "remote: no\n"), "[remote rejected] (pre-receive hook declined)"),
        (ssh(*CHANGED_HOST_KEY), f"{CHANGED_HOST_KEY[-2]}; {CHANGED_HOST_KEY[-1]}"),
        (
            ssh('Load key "/k": error in libcrypto', "git@git.example: Permission denied (publickey)."),
            'Load key "/k": error in libcrypto; git@git.example: Permission denied (publickey).',
        ),
        (ssh(*SIGNED_IN, "debug1: Exit status 1", errors=NOT_FOUND), "ERROR: Repository not found."),
        (
            unable(NO_TUNNEL, Http(503, from_proxy=True)),
            f"the proxy answered with HTTP status 503: fatal: unable to access '{URL}/': {NO_TUNNEL}",
        ),
        (https(f"{SHA256}fatal: the remote end hung up unexpectedly\n"), SHA256.strip()),
        (https(""), "git failed without an error message"),
    ],
)
def test_the_message_repeats_the_cause_and_not_the_noise(transcript: Transcript, message: str) -> None:
    assert words(diagnose("code repository", transcript)) == message


TRACE = """\
14:02:11.123456 http.c:684              => Send header: CONNECT git.example:443 HTTP/1.1
14:02:11.123456 http.c:684              => Send header: Proxy-Authorization: Basic cHJveHk6c2VjcmV0
14:02:11.123456 http.c:684              <= Recv header: HTTP/1.1 {proxy} whatever
14:02:11.123456 http.c:684              <= Recv header: X-Note: <= Recv header: text/1.1 204 x
"""
REQUEST = """\
14:02:11.123456 http.c:684              => Send header: GET /team/app.git/info/refs HTTP/2
14:02:11.123456 http.c:684              => Send header: authorization: Basic cm9ib3Q6c2VjcmV0
"""
ANSWER = """\
14:02:11.123456 http.c:684              <= Recv header: HTTP/1.1 100 Continue
14:02:11.123456 http.c:684              <= Recv header: HTTP/2 {status}
"""


@pytest.mark.parametrize(
    ("text", "response"),
    [
        ("", None),
        (TRACE.format(proxy=503), Http(503, from_proxy=True)),
        (TRACE.format(proxy=200) + REQUEST, None),
        (TRACE.format(proxy=200) + REQUEST + ANSWER.format(status=404), Http(404)),
        (REQUEST + ANSWER.format(status=401) + REQUEST, None),
        (REQUEST + ANSWER.format(status=401) + REQUEST + ANSWER.format(status=200), Http(200)),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_only_the_last_status_of_a_trace_is_kept(text: str, response: Http | None, size: int) -> None:
    trace = HttpTrace()
    for start in range(0, len(text), size):
        trace.take(text[start : start + size].encode())
    assert trace.response == response
    assert "secret" not in repr(trace)
    assert "Basic" not in repr(trace)


def test_the_beginning_and_the_last_line_of_the_ssh_log_are_kept() -> None:
    log = SshLog()
    for number in range(100_000):
        log.take(f"debug1: Remote: {number}\n".encode())
    log.take(b"debug1: Exit status 1\r\n")
    assert len(log.lines) == 500
    assert log.lines[0] == "debug1: Remote: 0"
    assert Transcript(ssh=tuple(log.lines)).ssh_exit_code == 1
