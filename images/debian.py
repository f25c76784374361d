"""Where this machine takes Debian's packages from, and how."""

from __future__ import annotations

import platform
import re
import shlex
from typing import Final

from images.commands import ask
from images.errors import ImagesError

_DEBIAN: Final = "debian"
_SECURITY: Final = "-security"
_OPTIONS: Final = re.compile(r"Acquire::(https?::|Check-Valid-Until |Check-Date )")


def mirror() -> str:
    """The address of the archive that apt is configured with. Raises ImagesError when there is none."""
    if address := _address(""):
        return address
    raise ImagesError("apt on this machine has no mirror of Debian to make the base image from")


def sources(release: str) -> str:
    """A sources.list for another release: of the same mirrors, with updates, and security where apt has that."""
    lines = [f"deb {mirror()} {name} main" for name in (release, f"{release}-updates")]
    if security := _address(_SECURITY):
        lines.append(f"deb {security} {release}{_SECURITY} main")
    return "".join(f"{line}\n" for line in lines)


def options() -> str:
    """The lines of apt's configuration that say how archives are reached."""
    lines = ask("apt-config", "dump").splitlines()
    return "".join(f"{line}\n" for line in lines if _OPTIONS.match(line))


def proxy() -> dict[str, str]:
    """The variable that leads programs other than apt through apt's proxy."""
    _, _, value = ask("apt-config", "shell", "http_proxy", "Acquire::http::Proxy").partition("=")
    return {"http_proxy": shlex.split(value)[0]} if value else {}


def _address(suffix: str) -> str | None:
    system = platform.freedesktop_os_release()
    if system.get("ID") != _DEBIAN:
        return None
    wanted = f"{system.get('VERSION_CODENAME')}{suffix} main "
    targets = ask("apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages")
    return next((line.removeprefix(wanted) for line in targets.splitlines() if line.startswith(wanted)), None)
