"""The environment of a step: the project's variables, what it inherits from the operator, and its package caches."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from projectsetup.recipes.fields import parameter_variable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import PurePath

    from projectsetup.recipes.model import Step
    from projectsetup.setup.types import SetupProject

PRIVATE_HOME: Final = "home"
PRIVATE_TEMPORARY: Final = "tmp"

_LOCALE: Final = ("LANG", "LANGUAGE")
_LOCALE_PREFIX: Final = "LC_"
_PROXIES: Final = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")
_CERTIFICATES: Final = (
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "NIX_SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
    "npm_config_cafile",
)
_INDEXES: Final = (
    "GONOSUMDB",
    "GOPROXY",
    "GOSUMDB",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_EXTRA_INDEX_URL",
    "PIP_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_HTTP_TIMEOUT",
    "UV_INDEX",
    "UV_INDEX_STRATEGY",
    "UV_INDEX_URL",
    "UV_INSECURE_HOST",
    "npm_config_registry",
)
"""Package indexes: settings that are valid on every machine."""
_INDEX_LOGIN: Final = re.compile(
    r"(?:UV_INDEX|POETRY_HTTP_BASIC)_[A-Z0-9_]+_(?P<kind>USERNAME|PASSWORD)|CARGO_REGISTRIES_[A-Z0-9_]+_TOKEN"
)
"""Variables that hold a login for a private package index."""
_CACHES: Final = (
    "CARGO_HOME",
    "GOCACHE",
    "GOFLAGS",
    "GOMODCACHE",
    "PIP_CACHE_DIR",
    "PIP_CONFIG_FILE",
    "PIP_FIND_LINKS",
    "PIP_NO_INDEX",
    "UV_CACHE_DIR",
    "UV_CONFIG_FILE",
    "UV_FIND_LINKS",
    "UV_LINK_MODE",
    "UV_NO_INDEX",
    "UV_OFFLINE",
    "npm_config_cache",
)
"""Package caches and local sources: settings of this machine."""
_PORTABLE: Final = frozenset({*_LOCALE, *_PROXIES, *map(str.upper, _PROXIES), *_INDEXES})
_INHERITED: Final = _PORTABLE.union(_CERTIFICATES, _CACHES)
_MIN_TOKEN: Final = 16
_DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CACHE_FOLDERS: Final = {
    "GOCACHE": "go-build",
    "GOMODCACHE": "go-mod",
    "PIP_CACHE_DIR": "pip",
    "UV_CACHE_DIR": "uv",
    "npm_config_cache": "npm",
}
"""The variable of each tool, and its folder inside a namespace's cache."""
_CONFIGURED_CACHES: Final = ("CARGO_HOME",)
"""Caches that exist only where the operator's environment names one."""
_USERINFO = re.compile(r"://(?P<user>[^/@:\s]*)(?::(?P<password>[^/\s]*))?@")


def inherited_environment(operator: Mapping[str, str]) -> dict[str, str]:
    """What a step inherits from the operator: PATH, locale, proxies, certificates, package indexes and caches.

    The operator's own Python comes first on PATH.
    """
    chosen = {
        name: value
        for name, value in operator.items()
        if name in _INHERITED or name.startswith(_LOCALE_PREFIX) or _INDEX_LOGIN.fullmatch(name)
    }
    path = operator.get("PATH") or _DEFAULT_PATH
    return {"LANG": "C.UTF-8", **chosen, "PATH": f"{Path(sys.executable).parent}:{path}"}


def portable_environment(operator: Mapping[str, str]) -> dict[str, str]:
    """What a step on another machine, where others may read it, inherits from the operator.

    Locale, proxies and package indexes; no paths, and no values that contain a login.
    """
    chosen = {name: text for name, text in operator.items() if name in _PORTABLE or name.startswith(_LOCALE_PREFIX)}
    return {name: text for name, text in chosen.items() if not any(secrets_in({name: text}))}


def project_environment(
    project: SetupProject, parameters: Mapping[str, str], *, attempt: int, workspace: PurePath
) -> dict[str, str]:
    """The variables of every step: project, parameters, attempt and workspace."""
    return {
        "PROJECT_ID": str(project.id),
        "PROJECT_NAME": project.name,
        "PROJECT_SLUG": project.slug,
        "PROJECT_DESCRIPTION": project.description,
        "CODE_REPO": project.code_repo,
        "DOCS_REPO": project.docs_repo or "",
        "ATTEMPT": str(attempt),
        "WORKSPACE": str(workspace),
        "HOME": str(workspace / ".home"),
        "TMPDIR": str(workspace / ".tmp"),
        **{parameter_variable(name): value for name, value in parameters.items()},
    }


def step_variables(step: Step, traceparents: Mapping[str, str]) -> dict[str, str]:
    """The variables of this step only: those of the recipe, and TRACEPARENT if its attempt is traced."""
    traceparent = traceparents.get(step.name)
    return {**step.env, **({} if traceparent is None else {"TRACEPARENT": traceparent})}


def trusted_environment(environment: Mapping[str, str], workspace: PurePath) -> dict[str, str]:
    """The environment without what an earlier step can write to or read: PATH entries, package caches, index logins."""
    kept = {name: text for name, text in environment.items() if name not in _CACHES and not _is_index_login(name, text)}
    return {**kept, "PATH": trusted_path(environment["PATH"], workspace)}


def trusted_path(path: str, workspace: PurePath) -> str:
    """The entries of a PATH that are absolute and outside the workspace."""
    entries = (entry for entry in path.split(":") if entry.startswith("/"))
    return ":".join(entry for entry in entries if not Path(os.path.normpath(entry)).is_relative_to(workspace))


def private_paths(directory: PurePath) -> dict[str, str]:
    """Variables that keep a step with credentials in its private directory, and git away from user configuration."""
    return {
        "HOME": str(directory / PRIVATE_HOME),
        "TMPDIR": str(directory / PRIVATE_TEMPORARY),
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }


def _is_index_login(name: str, value: str) -> bool:
    return _INDEX_LOGIN.fullmatch(name) is not None or (name in _INDEXES and any(secrets_in({name: value})))


def secrets_in(environment: Mapping[str, str]) -> Iterator[str]:
    """Passwords and tokens of package indexes and in URLs, including tokens in place of a user name."""
    for name, value in environment.items():
        login = _INDEX_LOGIN.fullmatch(name)
        if login is not None and login["kind"] != "USERNAME":
            yield value
        for match in _USERINFO.finditer(value):
            secret = match["user"] if match["password"] is None else match["password"]
            if match["password"] is not None or len(secret) >= _MIN_TOKEN:
                yield from (secret, unquote(secret))


@dataclass(frozen=True, slots=True)
class PackageCaches:
    """The caches of one namespace, each under the variable that its tool reads.

    `roots` are the directories that hold these and the caches of other namespaces.
    """

    roots: frozenset[Path]
    own: Mapping[str, Path]

    def make(self) -> None:
        """Make the missing directories. Raises OSError."""
        for path in self.own.values():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        """The variables for the tools."""
        return {variable: str(path) for variable, path in self.own.items()}


NO_CACHES: Final = PackageCaches(frozenset(), {})


def package_caches(operator: Mapping[str, str], namespace: str) -> PackageCaches:
    """The caches for steps of this namespace, derived from the operator's environment.

    A cache variable set there names the directory that holds one cache per namespace. The caches of the other tools
    are below `projectsetup` in the cache folder of the operator's user; there are none when that is not writable.
    """
    variables = (*_CACHE_FOLDERS, *_CONFIGURED_CACHES)
    roots = {variable: Path(operator[variable]).resolve() for variable in variables if operator.get(variable)}
    own = {variable: root / namespace for variable, root in roots.items()}
    common = _user_cache(operator)
    if common is not None:
        root = (common / "projectsetup").resolve()
        unset = _CACHE_FOLDERS.keys() - roots.keys()
        roots |= dict.fromkeys(unset, root)
        own |= {variable: root / namespace / _CACHE_FOLDERS[variable] for variable in unset}
    return PackageCaches(frozenset(roots.values()), own)


def _user_cache(operator: Mapping[str, str]) -> Path | None:
    home = operator.get("HOME")
    configured = operator.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home else None)
    if not configured or not configured.startswith("/"):
        return None
    nearest = next(folder for folder in (Path(configured), *Path(configured).parents) if os.access(folder, os.F_OK))
    return Path(configured) if os.access(nearest, os.W_OK | os.X_OK) else None
