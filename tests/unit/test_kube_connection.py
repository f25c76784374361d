"""Where a pod finds the API server."""

from __future__ import annotations

import pytest

from projectsetup.kube.connection import pod_server


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("10.0.0.1", "6443", "https://10.0.0.1:6443"),
        ("fd00::1", "443", "https://[fd00::1]:443"),
        ("api.example.com", "443", "https://api.example.com:443"),
    ],
)
def test_the_address_is_the_one_in_the_environment_of_every_pod(
    monkeypatch: pytest.MonkeyPatch, host: str, port: str, url: str
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    assert pod_server() == url
