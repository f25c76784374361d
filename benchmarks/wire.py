"""The API server over plain HTTP: a load that costs the machine as little as can be."""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPSConnection, RemoteDisconnected
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from projectsetup.api.constants import GROUP, PLURAL, VERSION

Body = dict[str, Any]
NAMESPACE: Final = "default"
COLLECTION: Final = f"/apis/{GROUP}/{VERSION}/namespaces/{NAMESPACE}/{PLURAL}"
EVENTS: Final = f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events"
MERGE_PATCH: Final = "application/merge-patch+json"
WRITES: Final = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE"})
_REQUESTS: Final = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<count>\S+)$", re.MULTILINE)
_AT_ONCE: Final = 4
_LIMIT: Final = 60


class Wire:
    """One connection a thread."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        self._trusted = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._address = urlsplit(cluster["server"]).netloc
        self._login = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
        self._mine = threading.local()

    def call(self, method: str, path: str, body: Body | None = None, content_type: str = "application/json") -> bytes:
        """The answer; RuntimeError when it is no good one."""
        if not hasattr(self._mine, "connection"):
            self._mine.connection = self._connect()
        connection: HTTPSConnection = self._mine.connection
        text = None if body is None else json.dumps(body)
        headers = {**self._login, "Content-Type": content_type}
        try:
            connection.request(method, path, text, headers)
            answer = connection.getresponse()
        except RemoteDisconnected:  # it was idle for too long
            connection.close()
            connection.request(method, path, text, headers)
            answer = connection.getresponse()
        told = answer.read()
        if answer.status >= 300:  # noqa: PLR2004
            raise RuntimeError(f"{method} {path}: {answer.status} {told[:300]!r}")
        return told

    def get(self, path: str) -> Body:
        """The object at `path`."""
        found: Body = json.loads(self.call("GET", path))
        return found

    def watch(self, since: str) -> Iterator[bytes]:
        """What happens to ProjectSetups after this resourceVersion, an event a line."""
        connection = self._connect()
        path = f"{COLLECTION}?watch=1&resourceVersion={since}"
        connection.request("GET", path, headers=self._login)
        answer = connection.getresponse()
        yield from answer

    def _connect(self) -> HTTPSConnection:
        return HTTPSConnection(self._address, context=ssl.create_default_context(cadata=self._trusted), timeout=_LIMIT)


def requests_taken(metrics: str, verbs: Collection[str]) -> Iterator[tuple[str, float]]:
    """Resource, and how many requests of these verbs the API server has answered, of each of its counters."""
    for found in _REQUESTS.finditer(metrics):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', found["labels"]))
        if labels["verb"] in verbs:
            yield labels["resource"], float(found["count"])


def in_parallel(work: Callable[[str], object], names: Sequence[str]) -> None:
    """Do it for all names, a few at once."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(work, names):
            pass
