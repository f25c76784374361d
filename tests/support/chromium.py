"""Headless Chromium, driven through WebDriver; both come from Debian's packages."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Sequence
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final, Self

from devcluster import DevclusterError, debian
from devcluster.files import build_lock, user_cache
from devcluster.ports import free_port
from tests.support.operator_process import wait_for

SECONDS: Final = 120.0
"""Limit of one operation of the browser."""
ELEMENT: Final = "element-6066-11e4-a52e-4f735466cecf"
"""The key of an element reference in WebDriver."""
RETRYABLE: Final = frozenset({"no such element", "stale element reference", "element click intercepted"})
_PACKAGES: Final = {"chromium": "chromium", "chromium-driver": "chromedriver"}
"""Debian's packages, and the program of each."""


def chromium_obstacle() -> str | None:
    """Why Chromium is unavailable; None if it is installed."""
    missing = _missing()
    return f"missing Debian packages: {', '.join(missing)}" if missing else None


def install_chromium() -> None:
    """Install the missing packages; DevclusterError says why that is impossible."""
    missing = _missing()
    if not missing:
        return
    if os.geteuid() != 0 or _system() != "debian":
        raise DevclusterError(f"installing {' and '.join(missing)} needs root on Debian")
    cache = user_cache("projectsetup-tests")
    with build_lock(cache, prefix="tests"):
        debian.install(_missing, cache / "chromium.log", prefix="tests")


def _missing() -> list[str]:
    return [package for package, program in _PACKAGES.items() if shutil.which(program) is None]


def _system() -> str | None:
    try:
        return platform.freedesktop_os_release().get("ID")
    except OSError:
        return None


class Refused(AssertionError):
    """The browser rejected a command; `kind` is the error code of WebDriver."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Chromium:
    """One browser with one page; its files are below `folder`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._port = free_port()
        self._session = ""
        with (folder / "chromedriver.log").open("wb") as log:
            self._driver = subprocess.Popen(
                ["chromedriver", f"--port={self._port}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            wait_for(self._is_ready, "chromedriver to be ready", limit=SECONDS)
            self._session = self._begin([*options, f"--user-data-dir={folder / 'profile'}"])
        except BaseException:
            self._end_driver()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._call("DELETE", "")
        finally:
            self._end_driver()

    def open(self, url: str) -> None:
        """Load a page and wait until it is loaded."""
        self._call("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """The return value of a JavaScript function with this body."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def click(self, selector: str) -> None:
        """Click the first element that matches the CSS selector; it must be visible."""
        wait_for(lambda: self._clicked(selector), f"a click on {selector}", limit=SECONDS)

    def type_text(self, selector: str, text: str) -> None:
        """Type into the first element that matches the CSS selector; U+E007 is the key Enter."""
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        self._call("POST", f"/element/{found[ELEMENT]}/value", {"text": text})

    @property
    def text(self) -> str:
        """The visible text of the page; needs no JavaScript in the page."""
        found = self._call("POST", "/element", {"using": "css selector", "value": "body"})
        return str(self._call("GET", f"/element/{found[ELEMENT]}/text"))

    def wait_for(self, what: str, script: str, *arguments: object) -> None:
        """Return once a JavaScript function with this body returns a true value."""
        try:
            wait_for(lambda: self.run(script, *arguments), f"the page to show {what}", limit=SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows {self.run('return document.body.innerText')}") from None

    def emulate(self, *, width: int = 0, dark: bool = False, scripts: bool = True) -> None:
        """Show pages as on a screen of this width (0: the window's), in dark mode, or without JavaScript."""
        metrics = {"width": width, "height": 0, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", features=[scheme])
        self._devtools("Emulation.setScriptExecutionDisabled", value=not scripts)

    def take_picture(self, file: Path) -> None:
        """Write the whole page to a PNG."""
        size = self._devtools("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        picture = self._devtools("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        file.write_bytes(b64decode(picture["data"]))

    def console_messages(self) -> list[str]:
        """The messages on the console of the browser since the last call."""
        return [str(entry["message"]) for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def _clicked(self, selector: str) -> bool:
        """Whether the click succeeded; it fails while the page replaces the element."""
        try:
            found = self._call("POST", "/element", {"using": "css selector", "value": selector})
            self._call("POST", f"/element/{found[ELEMENT]}/click", {})
        except Refused as error:
            if error.kind not in RETRYABLE:
                raise
            return False
        return True

    def _devtools(self, command: str, **parameters: object) -> Any:
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _begin(self, options: Sequence[str]) -> str:
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *options]
        wanted = {
            "goog:chromeOptions": {"binary": shutil.which("chromium"), "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        return str(self._call("POST", "", {"capabilities": {"alwaysMatch": wanted}})["sessionId"])

    def _is_ready(self) -> bool:
        assert self._driver.poll() is None, "chromedriver ended"
        try:
            return bool(self._send("GET", "/status", None)["ready"])
        except (OSError, HTTPException):
            return False

    def _call(self, method: str, path: str, body: object = None) -> Any:
        return self._send(method, "/session" + (f"/{self._session}{path}" if self._session else ""), body)

    def _send(self, method: str, path: str, body: object) -> Any:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=SECONDS)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        value = json.loads(text)["value"]
        if answer.status != HTTPStatus.OK:
            raise Refused(value["error"], f"{method} {path} {body}: {value['error']}: {value['message']}")
        return value

    def _end_driver(self) -> None:
        self._driver.terminate()
        self._driver.wait(SECONDS)
