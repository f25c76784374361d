"""Names and descriptions of projects, and the slug made from a name."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from projectsetup.projects.errors import InvalidProject
from projectsetup.text import composed, harmful_character, is_visible

if TYPE_CHECKING:
    from uuid import UUID

NAME_LENGTH = 100
DESCRIPTION_LENGTH = 10_000
SLUG_LENGTH = 40

_BYTE_ORDER_MARK = "\ufeff"
_LINE_END = re.compile("\r\n?|[\u2028\u2029]")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def check_name(name: str) -> str:
    """The name in NFC without surrounding space. Whatever people write will do, shell characters too.

    Raises InvalidProject.
    """
    trimmed = _trimmed(name)
    _refuse_harmful("name", trimmed)
    if not is_visible(trimmed):
        raise InvalidProject("the name must not be empty")
    if len(trimmed) > NAME_LENGTH:
        raise InvalidProject(f"the name has {len(trimmed)} characters; at most {NAME_LENGTH} are allowed")
    return trimmed


def check_description(description: str) -> str:
    """The description in NFC without surrounding space; tabs and lines are fine, each ends with `\\n` then.

    Raises InvalidProject.
    """
    trimmed = _trimmed(_LINE_END.sub("\n", description))
    if len(trimmed) > DESCRIPTION_LENGTH:
        raise InvalidProject(f"the description has {len(trimmed)} characters; at most {DESCRIPTION_LENGTH} are allowed")
    _refuse_harmful("description", trimmed.replace("\n", "").replace("\t", ""))
    return trimmed


def check_namespace(namespace: str) -> str:
    """The name of a namespace, unchanged. Raises InvalidProject."""
    if not _NAMESPACE.fullmatch(namespace):
        raise InvalidProject("the namespace must be 1 to 63 characters of a-z, 0-9 and '-', with no '-' at the ends")
    return namespace


def slug_of(name: str, project_id: UUID) -> str:
    """1 to 40 characters of `a-z0-9-`, first a letter, last no dash; accents are folded away.

    A name that leaves nothing becomes `project-` and the first 8 characters of the id.
    """
    folded = unicodedata.normalize("NFKD", name).casefold().encode("ascii", "ignore").decode()
    slug = "-".join(re.findall(r"[a-z0-9]+", folded))
    if not slug:
        return f"project-{str(project_id)[:8]}"
    if slug[0].isdigit():
        slug = f"project-{slug}"
    return slug[:SLUG_LENGTH].rstrip("-")


def _trimmed(text: str) -> str:
    return composed(text.strip().strip(_BYTE_ORDER_MARK).strip())


def _refuse_harmful(field: str, text: str) -> None:
    character = harmful_character(text)
    if character is not None:
        raise InvalidProject(f"the {field} holds a character that cannot be printed: {character}")
