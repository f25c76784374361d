"""`python -m demo`: apply a ProjectSetup and watch the operator generate, install, test, commit and push a project.

Uses the cluster of KUBECONFIG and the database of DATABASE_URL if both are set, else a temporary local control plane.
KEEP=1 keeps everything running at the end and prints how to use it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from demo.scenario import DemoFailed, Scenario
from devcluster import DevclusterError


def main() -> int:
    """Run the demo; exit code 0 if the project was set up."""
    keep = os.environ.get("KEEP") == "1"
    scenario = Scenario(Path(__file__).parent.parent)
    done = False
    try:
        scenario.bring_up()
        scenario.show()
        done = True
        if not keep:
            print("\n==> Done. Cleaning up; `make demo KEEP=1` keeps everything running")
    except (DemoFailed, DevclusterError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if keep and done:
            scenario.print_instructions()
        else:
            scenario.clean_up()
    return 0


if __name__ == "__main__":
    sys.exit(main())
