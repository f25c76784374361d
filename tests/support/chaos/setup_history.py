"""Every stored version of every ProjectSetup, read from etcd itself and not from the API server."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final, Self

from tests.support.operator_process import wait_for

_PREFIX: Final = "/registry/codemyspec.com/projectsetups/"
_RETRY_DELAY: Final = 0.2

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Version:
    """One stored version of a ProjectSetup; `body` is None when it was deleted."""

    revision: int
    body: Body | None

    @property
    def status(self) -> Body:
        """Its `.status`."""
        status: Body = (self.body or {}).get("status", {})
        return status


@dataclass(slots=True)
class SetupHistory:
    """Watches the etcd on `port` through all its outages without missing a version."""

    port: int
    namespace: str
    versions: dict[str, list[Version]] = field(default_factory=lambda: defaultdict(list))
    """By name of the ProjectSetup, in the order of writing."""
    problem: str | None = None
    _next: int = 1
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._next = self._revision() + 1
        self._thread = threading.Thread(target=self._watch_always, name="history", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def catch_up(self) -> None:
        """Return once everything stored by now has been read."""
        revision = self._newest()
        wait_for(lambda: self.problem or self._next > revision, f"etcd to report revision {revision}")
        assert self.problem is None, self.problem

    def _watch_always(self) -> None:
        while not self._stop.is_set() and self.problem is None:
            try:
                self._watch()
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(_RETRY_DELAY)

    def _watch(self) -> None:
        request = {"create_request": {**self._range(), "start_revision": str(self._next)}}
        for line in self._post("/v3/watch", request):
            result = json.loads(line)["result"]
            if result.get("canceled"):
                self.problem = f"etcd no longer knows revision {self._next}: {result}"
                return
            for event in result.get("events", ()):
                self._add(event)
            if self._stop.is_set():
                return

    def _add(self, event: Body) -> None:
        kv = event["kv"]
        name = base64.b64decode(kv["key"]).decode().rpartition("/")[2]
        deleted = event.get("type") == "DELETE"
        body = None if deleted else json.loads(base64.b64decode(kv["value"]))
        revision = int(kv["mod_revision"])
        self.versions[name].append(Version(revision, body))
        self._next = max(self._next, revision + 1)

    def _newest(self) -> int:
        """The revision of the newest write to a ProjectSetup of the namespace that still exists."""
        newest = {**self._range(), "sort_order": "DESCEND", "sort_target": "MOD", "limit": 1, "keys_only": True}
        (line,) = self._post("/v3/kv/range", newest)
        found = json.loads(line).get("kvs", ())
        return int(found[0]["mod_revision"]) if found else 0

    def _revision(self) -> int:
        (line,) = self._post("/v3/kv/range", {**self._range(), "count_only": True})
        return int(json.loads(line)["header"]["revision"])

    def _range(self) -> Body:
        prefix = f"{_PREFIX}{self.namespace}/"
        beyond = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        return {"key": _encoded(prefix), "range_end": _encoded(beyond)}

    def _post(self, path: str, body: Body) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("POST", path, json.dumps(body))
        return connection.getresponse()


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
