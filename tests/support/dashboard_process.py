"""Runs the dashboard in its own process and sends it requests."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlencode

from tests.support.command_line import command, environment
from tests.support.operator_process import wait_for
from tests.support.setup_handle import Setup

SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    text: str


class Dashboard:
    """A dashboard process with these options and variables; once created, it has printed its address."""

    def __init__(self, folder: Path, kubeconfig: Path, *options: str, **variables: str) -> None:
        self._out = folder / "dashboard.out"
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                command("dashboard", *options),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment({"KUBECONFIG": str(kubeconfig), **variables}),
            )
        wait_for(lambda: "Ctrl-C" in self.output or not self.alive, "the dashboard to print its address", limit=SECONDS)
        found = re.search(r"http://127\.0\.0\.1:([0-9]+)/", self.output)
        assert found, self.output
        self.url, self.port = found[0], int(found[1])
        self.wait_for("the first list", lambda text: "Loading ProjectSetups" not in text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.alive:
            self.process.kill()
        self.process.wait()

    @property
    def output(self) -> str:
        """The output of the process."""
        return self._out.read_text()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    @property
    def origin(self) -> str:
        """The origin of its pages."""
        return self.url.rstrip("/")

    def interrupt(self) -> int:
        """Send SIGINT, as Ctrl-C does; returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(SECONDS)

    def request(self, method: str, path: str, body: str | None = None, **headers: str | None) -> Answer:
        """Send a request with these headers (`_` stands for `-`); headers that are None are left out."""
        sent = {"Host": f"127.0.0.1:{self.port}", **headers, "Content-Length": str(len(body or ""))}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name.replace("_", "-"), value)
        connection.endheaders((body or "").encode())
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, text)

    def get(self, path: str = "/", **headers: str | None) -> Answer:
        """Get a page."""
        return self.request("GET", path, **headers)

    def post(self, path: str, fields: Mapping[str, str], **headers: str | None) -> Answer:
        """Send a form as a page of the dashboard would."""
        usual = {"Origin": self.origin, "Content_Type": "application/x-www-form-urlencoded"}
        return self.request("POST", path, urlencode(fields), **{**usual, **headers})

    def press(self, button: str, namespace: str, name: str) -> Answer:
        """Press the button `retry` or `cancel` of a ProjectSetup, with the token that its page holds."""
        page = self.get() if button == "retry" else self.get(f"/cancel?namespace={namespace}&name={name}")
        token = re.search(r'name="token" value="([^"]+)"', page.text)
        assert token, page.text
        return self.post(f"/{button}", {"token": token[1], "namespace": namespace, "name": name})

    def wait_for(self, what: str, is_true: object, path: str = "/board") -> str:
        """The page, normally the board, once `is_true(text)`, or once it holds the text `is_true`."""
        seen = [""]

        def holds() -> bool:
            seen[0] = self.get(path).text
            return bool(is_true(seen[0])) if callable(is_true) else str(is_true) in seen[0]

        try:
            wait_for(holds, f"the dashboard to show {what}", limit=SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows {seen[0]}") from None
        return seen[0]


def address(setup: Setup) -> str:
    """The path of the page of one setup."""
    return f"/setups/{setup.api.namespace}/{setup.name}"


def section(board: str, heading: str) -> str:
    """The part of the board below one heading."""
    found = re.search(rf'<section aria-labelledby="{heading}">.*?</section>', board, re.DOTALL)
    assert found, board
    return found[0]
