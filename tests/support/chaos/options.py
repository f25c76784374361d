"""The short form of the fault tests, which every run of all tests has, and the long one."""

from __future__ import annotations

import os
from typing import Final

IS_LONG: Final = os.environ.get("CHAOS") == "long"
"""Whether everything is asked for: `make chaos`."""
SEED: Final = 20_261_124
"""Of all that is random."""
