"""ProjectSetups by the thousand, made faster than a Kubernetes client for one at a time makes them."""

from __future__ import annotations

import base64
import json
import ssl
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import yaml

from projectsetup.api.constants import API_VERSION, GROUP, KIND, PLURAL, VERSION
from tests.api_server import Body

_CONNECTIONS: Final = 4


def make_setups(kubeconfig: Path, namespace: str, statuses: Sequence[Body], number: int) -> None:
    """Create so many ProjectSetups of projects that nobody knows, which have these statuses, one after the other."""
    shares = [range(first, number, _CONNECTIONS) for first in range(_CONNECTIONS)]
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        for done in [pool.submit(_make, kubeconfig, namespace, statuses, share) for share in shares]:
            done.result()


def _make(kubeconfig: Path, namespace: str, statuses: Sequence[Body], share: range) -> None:
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

    for number in share:
        name = str(uuid.uuid4())
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": {"recipe": "instant"}}
        send("POST", collection, body, "application/json")
        status = {"status": statuses[number % len(statuses)]}
        send("PATCH", f"{collection}/{name}/status", status, "application/merge-patch+json")
    connection.close()
