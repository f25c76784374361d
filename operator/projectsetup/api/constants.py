"""Names of the resource and its annotations, and who controls an object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUP: Final = "codemyspec.com"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "ProjectSetup"
PLURAL: Final = "projectsetups"
SINGULAR: Final = "projectsetup"
SHORT_NAME: Final = "psetup"
CATEGORY: Final = "codemyspec"

ANNOTATION_PREFIX: Final = "setup.codemyspec.com/"
PRIORITY: Final = ANNOTATION_PREFIX + "priority"
MAX_ATTEMPTS: Final = ANNOTATION_PREFIX + "max-attempts"
BACKOFF: Final = ANNOTATION_PREFIX + "backoff"
BACKOFF_MAX: Final = ANNOTATION_PREFIX + "backoff-max"
RETRY_REQUESTED_AT: Final = ANNOTATION_PREFIX + "retry-requested-at"
CANCEL_REQUESTED_AT: Final = ANNOTATION_PREFIX + "cancel-requested-at"
REQUEST_ID: Final = ANNOTATION_PREFIX + "request-id"
"""The row of `setup_requests` for which a ProjectSetup was created or retried last."""


def controller_of(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The ownerReference of the object's controller, which is always in the same namespace.

    Labels do not say who owns an object: anyone who creates it can set them.
    """
    references = body["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), None)


def controller_uid(body: Mapping[str, Any]) -> str | None:
    """The uid of the object's controller."""
    controller = controller_of(body)
    return None if controller is None else controller.get("uid")
