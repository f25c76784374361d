"""Creates ProjectSetups by the thousand, faster than the Kubernetes client."""

from __future__ import annotations

import base64
import json
import ssl
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import yaml

from projectsetup.api.constants import API_VERSION, GROUP, KIND, PLURAL, VERSION
from tests.support.api_server import Body

_CONNECTIONS: Final = 4


def make_setups(kubeconfig: Path, namespace: str, statuses: Sequence[Body], number: int) -> None:
    """Create `number` ProjectSetups of projects that do not exist, with these statuses in turn."""

    def make_body(number: int) -> Body:
        return {"spec": {"recipe": "instant"}, "status": statuses[number % len(statuses)]}

    make_all(kubeconfig, namespace, make_body, number)


def make_all(kubeconfig: Path, namespace: str, make_body: Callable[[int], Body], number: int) -> list[str]:
    """Create `number` ProjectSetups of projects that do not exist with `make_body`; returns their names."""
    shares = [range(first, number, _CONNECTIONS) for first in range(_CONNECTIONS)]
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        works = [pool.submit(_make, kubeconfig, namespace, make_body, share) for share in shares]
        return [name for work in works for name in work.result()]


def _make(kubeconfig: Path, namespace: str, make_body: Callable[[int], Body], share: range) -> list[str]:
    config = yaml.safe_load(kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    trusted = base64.b64decode(cluster["certificate-authority-data"]).decode()
    address = urlsplit(cluster["server"]).netloc
    connection = HTTPSConnection(address, context=ssl.create_default_context(cadata=trusted), timeout=20)
    login = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
    collection = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}"

    def send(method: str, path: str, body: Body, content_type: str) -> None:
        connection.request(method, path, json.dumps(body), {**login, "Content-Type": content_type})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status in {200, 201}, text

    names = []
    for number in share:
        names.append(name := str(uuid.uuid4()))
        body = {"apiVersion": API_VERSION, "kind": KIND, **make_body(number)}
        body["metadata"] = {**body.get("metadata", {}), "name": name}
        status = {"status": body.pop("status")}
        send("POST", collection, body, "application/json")
        send("PATCH", f"{collection}/{name}/status", status, "application/merge-patch+json")
    connection.close()
    return names
