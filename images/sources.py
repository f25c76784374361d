"""What a build borrows from this machine: access to Debian's packages and to the package index."""

from __future__ import annotations

import ast
import os
import platform
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from images.commands import ImagesError, output_of

SOURCES: Final = "/etc/apt/sources.list"
OPTIONS: Final = "/etc/apt/apt.conf"
"""Files that are empty in the base image and mounted over during a build."""
CERTIFICATES: Final = "/run/secrets/ca"
"""The CA certificates for pip inside a build."""
_DEBIAN: Final = "debian"
_SECURITY: Final = "-security"
_OPTIONS: Final = re.compile(r"Acquire::(https?::|Check-Valid-Until |Check-Date )")

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


def debian_mirror() -> str:
    """The URL of the Debian archive that apt uses. Raises ImagesError if there is none."""
    if address := _address(""):
        return address
    raise ImagesError("apt on this machine is not configured with a Debian mirror, which the base image needs")


def debian_sources(release: str) -> str:
    """A sources.list for `release` with the mirrors of this machine, including updates and, if configured, security."""
    lines = [f"deb {debian_mirror()} {name} main" for name in (release, f"{release}-updates")]
    if security := _address(_SECURITY):
        lines.append(f"deb {security} {release}{_SECURITY} main")
    return "".join(f"{line}\n" for line in lines)


def apt_options() -> str:
    """The lines of the apt configuration that concern access to archives."""
    lines = output_of("apt-config", "dump").splitlines()
    return "".join(f"{line}\n" for line in lines if _OPTIONS.match(line))


def apt_proxy() -> dict[str, str]:
    """The environment variable that makes other programs use the proxy of apt."""
    _, _, value = output_of("apt-config", "shell", "http_proxy", "Acquire::http::Proxy").partition("=")
    return {"http_proxy": shlex.split(value)[0]} if value else {}


def _address(suffix: str) -> str | None:
    system = platform.freedesktop_os_release()
    if system.get("ID") != _DEBIAN:
        return None
    wanted = f"{system.get('VERSION_CODENAME')}{suffix} main "
    targets = output_of(
        "apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"
    )
    return next((line.removeprefix(wanted) for line in targets.splitlines() if line.startswith(wanted)), None)


def pip_settings() -> dict[str, str]:
    """The pip settings of this machine: configuration files, overridden by the environment."""
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in output_of(sys.executable, "-m", "pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in found:
            found[section][key] = str(ast.literal_eval(value))
    return {key: value for section in _SECTIONS for key, value in found[section].items()}


def ca_certificates(settings: Mapping[str, str]) -> Path | None:
    """The file of CA certificates that pip is configured to trust, if any."""
    named = settings.get("cert") or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    return Path(named) if named and Path(named).is_file() else None


def pip_configuration(settings: Mapping[str, str], *, certificates: bool) -> str:
    """A pip.conf with these settings, except those that name files of this machine."""
    kept = {_KEYS[key]: value for key, value in settings.items() if key in _KEYS}
    if certificates:
        kept["cert"] = CERTIFICATES
    return "[global]\n" + "".join(f"{key} = {' '.join(value.split())}\n" for key, value in sorted(kept.items()))


def build_arguments(folder: Path, release: str) -> list[str]:
    """Arguments for `buildah build`; writes the files that they name to `folder`, which must be private."""
    settings = pip_settings()
    trusted = ca_certificates(settings)
    contents = {
        "sources.list": debian_sources(release),
        "apt.conf": apt_options(),
        "pip.conf": pip_configuration(settings, certificates=trusted is not None),
        "ca.pem": trusted.read_text() if trusted else "",
    }
    for name, content in contents.items():
        (folder / name).write_text(content)
    return [
        f"--volume={folder / 'sources.list'}:{SOURCES}:ro",
        f"--volume={folder / 'apt.conf'}:{OPTIONS}:ro",
        f"--secret=id=pip,src={folder / 'pip.conf'}",
        f"--secret=id=ca,src={folder / 'ca.pem'}",
    ]
