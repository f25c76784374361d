"""Kubeconfigs for those who log in to the API server with a token."""

from __future__ import annotations

import base64

import yaml


def kubeconfig(url: str, certificate: bytes, *, user: str, token: str) -> str:
    """As YAML; whoever uses it trusts a server with this certificate only."""
    cluster = {"server": url, "certificate-authority-data": base64.b64encode(certificate).decode()}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "devcluster",
            "clusters": [{"name": "devcluster", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "devcluster", "context": {"cluster": "devcluster", "user": user}}],
        }
    )
