"""Names of the resource and of its annotations."""

from __future__ import annotations

from typing import Final

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
