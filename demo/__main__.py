"""`python -m demo`: a project is generated, installed, tested, committed and pushed because a resource was applied.

It uses KUBECONFIG and DATABASE_URL where both are set, and brings up a control plane of its own otherwise. KEEP=1
leaves everything up and prints how to use it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from demo.stage import DemoFailed, Stage
from devcluster import DevclusterError


def main() -> int:
    """Run the demonstration; 0 when the project was set up."""
    keep = os.environ.get("KEEP") == "1"
    stage = Stage(Path(__file__).parent.parent)
    done = False
    try:
        stage.bring_up()
        stage.show()
        done = True
    except (DemoFailed, DevclusterError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if keep and done:
            stage.print_instructions()
        else:
            stage.clean_up()
    return 0


if __name__ == "__main__":
    sys.exit(main())
