"""`dashboard` generates the JSON of the Grafana dashboard, `fetch` downloads Prometheus."""

from __future__ import annotations

import argparse
import sys

from monitoring.prometheus import MonitoringError, fetch


def main() -> int:
    """Run one command; exit code 0, or 1 with one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m monitoring", description=__doc__)
    parser.add_argument("command", choices=("dashboard", "fetch"))
    command = parser.parse_args().command
    try:
        if command == "dashboard":
            from monitoring import grafana  # noqa: PLC0415  # `fetch` works without the SDK

            grafana.FILE.write_text(grafana.render())
        else:
            fetch()
    except (MonitoringError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
