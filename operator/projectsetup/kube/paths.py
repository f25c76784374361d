"""Where the API server has what is ours."""

from __future__ import annotations

from urllib.parse import quote

from projectsetup.api.constants import GROUP, PLURAL, VERSION


def setups_path(namespace: str | None, name: str | None = None) -> str:
    """Where the ProjectSetups of a namespace are (None: of all), or the one of that name."""
    within = "" if namespace is None else f"/namespaces/{quote(namespace)}"
    return f"/apis/{GROUP}/{VERSION}{within}/{PLURAL}" + ("" if name is None else f"/{quote(name)}")
