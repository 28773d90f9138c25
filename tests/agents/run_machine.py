"""A machine agent whose hosts run the fake workload: `python -m tests.agents.run_machine ...`."""

import sys
from pathlib import Path

from agents.machine import main

FAKE_WORKLOAD = [sys.executable, "-S", str(Path(__file__).parent / "fake_workload.py")]

if __name__ == "__main__":
    sys.exit(main(workload_command=FAKE_WORKLOAD))
