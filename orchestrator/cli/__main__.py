"""`python -m orchestrator.cli`."""

import sys


def start() -> int:
    """Run the command line; an interruption before it can handle one is a quiet 130."""
    try:
        from orchestrator.cli.main import main

        return main()
    except KeyboardInterrupt:
        print("transship: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(start())
