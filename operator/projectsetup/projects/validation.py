"""Validation of the fields of a project."""

from __future__ import annotations

import re
from urllib.parse import unquote

from projectsetup.git_hosts import GitHosts, InvalidHosts, host_of
from projectsetup.projects.errors import InvalidProject
from projectsetup.text import (
    DESCRIPTION_LENGTH,
    DNS_LABEL,
    NAME_LENGTH,
    URL_LENGTH,
    composed,
    harmful_character,
    is_visible,
)

_BYTE_ORDER_MARK = "\ufeff"
_LINE_END = re.compile("\r\n?|[\u2028\u2029]")


def check_name(name: str) -> str:
    """The name in NFC, trimmed. Any printable text is allowed, shell characters too. Raises InvalidProject."""
    trimmed = _trimmed(name)
    _refuse_harmful("name", trimmed)
    if not is_visible(trimmed):
        raise InvalidProject("the name must not be empty")
    if len(trimmed) > NAME_LENGTH:
        raise InvalidProject(f"the name has {len(trimmed)} characters; at most {NAME_LENGTH} are allowed")
    return trimmed


def check_description(description: str) -> str:
    """The description in NFC, trimmed, with `\\n` as line ends; tabs are allowed. Raises InvalidProject."""
    trimmed = _trimmed(_LINE_END.sub("\n", description))
    if len(trimmed) > DESCRIPTION_LENGTH:
        raise InvalidProject(f"the description has {len(trimmed)} characters; at most {DESCRIPTION_LENGTH} are allowed")
    _refuse_harmful("description", trimmed.replace("\n", "").replace("\t", ""))
    return trimmed


def check_namespace(namespace: str) -> str:
    """The name of a namespace, unchanged. Raises InvalidProject."""
    if not re.fullmatch(DNS_LABEL, namespace):
        raise InvalidProject("the namespace must be 1 to 63 characters of a-z, 0-9 and '-', without '-' at either end")
    return namespace


def _trimmed(text: str) -> str:
    return composed(text.strip().strip(_BYTE_ORDER_MARK).strip())


def _refuse_harmful(field: str, text: str) -> None:
    character = harmful_character(text)
    if character is not None:
        raise InvalidProject(f"the {field} contains an unprintable character: {character}")


_USER = r"(?P<user>[A-Za-z0-9_][A-Za-z0-9._+~-]*)"
_HOST = r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
_NETWORK = re.compile(rf"(?:https|ssh)://(?:{_USER}@)?{_HOST}(?::(?P<port>[0-9]{{1,5}}))?/(?P<path>.+)")
_SCP = re.compile(rf"{_USER}@{_HOST}:(?P<path>[^-:].*)")
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?://|:)")
_PASSWORD = re.compile(r"(?:[^/@:]*://)?[^/@:]*:[^/@:][^/@]*@")
_TOKEN = re.compile(
    r"(?=.*[0-9]).{16,}|(?:gh[opusr]|github_pat|npm|pypi)_.*|gl[a-z]{2,4}-.{8,}|x-(?:oauth|token).*", re.S
)
"""User names that hosts put into their URLs, such as `org@dev.azure.com`, are shorter or contain no digit."""
_HIGHEST_PORT = 65_535


def check_repository_url(url: str, *, allow_file: bool, hosts: GitHosts) -> None:
    """Accepts `https://`, `ssh://` and `user@host:path`; with `allow_file` also `file:///` and absolute paths.

    The host must be allowed by `hosts`. Raises InvalidProject; the message never repeats the URL, which may contain a
    secret.
    """
    if not url:
        raise InvalidProject("a repository URL must not be empty")
    if len(url) > URL_LENGTH:
        raise InvalidProject(f"a repository URL must have at most {URL_LENGTH} characters")
    if url.startswith("-"):
        raise InvalidProject("a repository URL must not begin with '-'")
    if not unquote(url).isprintable():
        raise InvalidProject("a repository URL must not contain control characters")
    local = url.removeprefix("file://")
    if local.startswith("/"):
        _check_local(local, allow_file=allow_file)
    else:
        _check_remote(url, allow_file=allow_file)
        _check_host(url, hosts)


def _check_local(path: str, *, allow_file: bool) -> None:
    if not allow_file:
        raise InvalidProject("a repository URL must not be a local path; use https://, ssh:// or git@host:path")
    if not path.strip("/"):
        raise InvalidProject("a repository URL must name a repository")


def _check_remote(url: str, *, allow_file: bool) -> None:
    allowed = "https://, ssh:// or git@host:path" + (", file:///path or an absolute path" if allow_file else "")
    if _PASSWORD.match(url):
        raise InvalidProject("a repository URL must not contain a password; use the credentials Secret")
    scheme = _SCHEME.match(url)
    if scheme is not None and not url.startswith(("https://", "ssh://")):
        raise InvalidProject(f"a repository URL must not use {scheme['scheme'][:20]!r}; use {allowed}")
    user, at, _ = url.removeprefix("https://").partition("/")[0].rpartition("@")
    if url.startswith("https://") and at and (not user or _TOKEN.fullmatch(user)):
        raise InvalidProject("a repository URL must not contain a token as its user name; use the credentials Secret")
    if " " in url:
        raise InvalidProject("a repository URL must not contain spaces")
    if url.startswith("https://") and ("?" in url or "#" in url):
        raise InvalidProject("a repository URL must not contain a query or a fragment")
    network = _NETWORK.fullmatch(url)
    match = network or _SCP.fullmatch(url)
    port = int((network and network["port"]) or 1)
    if match is None or not match["path"].strip("/") or not 0 < port <= _HIGHEST_PORT:
        raise InvalidProject(f"this is not a repository URL; use {allowed}")


def _check_host(url: str, hosts: GitHosts) -> None:
    try:
        host = host_of(url)
    except InvalidHosts as exc:
        raise InvalidProject(str(exc)) from exc
    if host is not None and (objection := hosts.objection(host)):
        raise InvalidProject(objection)
