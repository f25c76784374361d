"""Whose an object is: its controller's reference says so. Labels do not, since whoever makes an object writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def controller_of(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The ownerReference of what controls the object, which can only be in the same namespace."""
    references = body["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), None)


def controller_uid(body: Mapping[str, Any]) -> str | None:
    """The uid of what controls the object."""
    controller = controller_of(body)
    return None if controller is None else controller.get("uid")
