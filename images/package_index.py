"""How pip reaches its package index on this machine, for the pip inside a build."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from images.commands import ask

CERTIFICATES: Final = "/run/secrets/ca"
"""Where the pip inside a build finds the certificates that it is to trust."""

_KEYS: Final = {
    "default-timeout": "timeout",
    "extra-index-url": "extra-index-url",
    "index-url": "index-url",
    "no-index": "no-index",
    "proxy": "proxy",
    "retries": "retries",
    "timeout": "timeout",
    "trusted-host": "trusted-host",
}
_SECTIONS: Final = ("global", "install", ":env:")


def pip_settings() -> dict[str, str]:
    """What pip is told on this machine by its files and, which counts more, by its environment."""
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in ask(sys.executable, "-m", "pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in found:
            found[section][key] = str(ast.literal_eval(value))
    return {key: value for section in _SECTIONS for key, value in found[section].items()}


def certificates(settings: Mapping[str, str]) -> Path | None:
    """The file of certificates that pip trusts in place of its own, if there is one."""
    named = settings.get("cert") or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    return Path(named) if named and Path(named).is_file() else None


def configuration(settings: Mapping[str, str], *, certificates: bool) -> str:
    """A pip.conf of these settings, without those that name files of this machine."""
    kept = {_KEYS[key]: value for key, value in settings.items() if key in _KEYS}
    if certificates:
        kept["cert"] = CERTIFICATES
    return "[global]\n" + "".join(f"{key} = {' '.join(value.split())}\n" for key, value in sorted(kept.items()))
