"""Started by the operator: `python -m projectsetup.engines.local.supervisor FD ROOT`."""

from __future__ import annotations

import sys

from projectsetup.engines.local.supervisor.main import main

sys.exit(main(sys.argv))
