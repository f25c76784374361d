"""Prometheus: fetching it from Debian's package, running one on this machine, and querying it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlencode

import yaml

from devcluster.debian import TOOLS_TO_UNPACK, unpack
from devcluster.errors import DevclusterError
from devcluster.files import build_lock, user_cache
from devcluster.ports import free_port, is_ok

PROGRAMS: Final = ("prometheus", "promtool")
_START_LIMIT: Final = 60.0
_END_LIMIT: Final = 30.0
_CALL_LIMIT: Final = 30.0
_POLL: Final = 0.1


class MonitoringError(Exception):
    """Prometheus or a screenshot is not available; the text is one line for the user."""


def cache_folder() -> Path:
    """The folder of the programs, below XDG_CACHE_HOME or ~/.cache."""
    return user_cache("projectsetup-monitoring")


def find_programs() -> dict[str, Path]:
    """The programs that exist, in the cache or on the PATH."""
    found: dict[str, Path] = {}
    for name in PROGRAMS:
        kept = cache_folder() / name
        there = str(kept) if kept.is_file() else shutil.which(name)
        found |= {name: Path(there)} if there else {}
    return found


def obstacle() -> str | None:
    """Why the programs cannot be provided; None if they can."""
    if find_programs().keys() >= {*PROGRAMS}:
        return None
    missing = [tool for tool in TOOLS_TO_UNPACK if shutil.which(tool) is None]
    return f"Prometheus is not installed; downloading it needs {' and '.join(missing)}" if missing else None


def fetch() -> dict[str, Path]:
    """The programs; downloads them once, with progress on standard output. Raises MonitoringError."""
    if (why := obstacle()) is not None:
        raise MonitoringError(why)
    if find_programs().keys() < {*PROGRAMS}:
        with build_lock(cache_folder(), prefix="monitoring"):
            if find_programs().keys() < {*PROGRAMS}:
                _unpack()
    return find_programs()


def _unpack() -> None:
    with TemporaryDirectory(dir=cache_folder()) as folder:
        try:
            root = unpack("prometheus", Path(folder), cache_folder() / "download.log", prefix="monitoring")
        except DevclusterError as error:
            raise MonitoringError(str(error)) from error
        for name in PROGRAMS:
            (root / "usr" / "bin" / name).rename(cache_folder() / name)


@dataclass(frozen=True, slots=True)
class Series:
    """A time series: labels, and pairs of Unix time and value."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


class Prometheus:
    """A client of the Prometheus on this port."""

    def __init__(self, port: int) -> None:
        self._address = f"127.0.0.1:{port}"

    def query(self, expression: str) -> list[Series]:
        """The current value of the expression. Raises MonitoringError if it cannot be evaluated."""
        found = self._ask("query", query=expression)["data"]
        if found["resultType"] == "scalar":
            return [Series({}, [_point(found["result"])])]
        return [Series(line["metric"], [_point(line["value"])]) for line in found["result"]]

    def query_range(self, expression: str, *, start: float, end: float, step: float) -> list[Series]:
        """The values of the expression from `start` to `end`, every `step` seconds."""
        found = self._ask("query_range", query=expression, start=start, end=end, step=step)["data"]
        return [Series(line["metric"], [_point(value) for value in line["values"]]) for line in found["result"]]

    def rules(self) -> list[dict[str, Any]]:
        """All rules with their state and health."""
        return [rule for group in self._ask("rules")["data"]["groups"] for rule in group["rules"]]

    def is_ready(self) -> bool:
        """Whether it answers queries."""
        return is_ok(f"http://{self._address}/-/ready")

    def _ask(self, what: str, **parameters: object) -> Any:
        connection = HTTPConnection(self._address, timeout=_CALL_LIMIT)
        try:
            connection.request("GET", f"/api/v1/{what}?{urlencode(parameters)}")
            answer = json.load(connection.getresponse())
        except (OSError, HTTPException, ValueError) as error:
            raise MonitoringError(f"Prometheus does not answer: {error}") from error
        finally:
            connection.close()
        if answer["status"] != "success":
            raise MonitoringError(f"{parameters.get('query', what)}: {answer['error']}")
        return answer


@contextmanager
def running(
    folder: Path, *, targets: Mapping[str, int], rules: Sequence[Path] = (), interval: str = "1s"
) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes `/metrics` on these ports of 127.0.0.1; `targets` maps instance names to ports.

    Its data and log are in `folder`. Raises MonitoringError if it is not available or does not start.
    """
    program = fetch()["prometheus"]
    port = free_port()
    configuration = folder / "prometheus.yaml"
    configuration.write_text(yaml.safe_dump(_configuration(targets, rules, interval)))
    command = [
        str(program),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        prometheus = Prometheus(port)
        _await_ready(prometheus, process, log)
        yield prometheus
    finally:
        process.terminate()
        try:
            process.wait(_END_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _configuration(targets: Mapping[str, int], rules: Sequence[Path], interval: str) -> dict[str, Any]:
    scraped = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": instance}} for instance, port in targets.items()
    ]
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "scrape_configs": [{"job_name": "projectsetup", "static_configs": scraped}],
        "rule_files": [str(path) for path in rules],
    }


def _await_ready(prometheus: Prometheus, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_LIMIT
    while process.poll() is None and time.monotonic() < end:
        if prometheus.is_ready():
            return
        time.sleep(_POLL)
    raise MonitoringError(f"Prometheus did not start: {' '.join(log.read_text(errors='replace').split())[-400:]}")


def _point(pair: Sequence[Any]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])
