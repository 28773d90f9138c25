"""A machine agent whose hosts run the fake workload: `python -m tests.agents.run_machine [--beat S] ...`."""

import sys
from pathlib import Path

from agents import pulse
from agents.machine import main

FAKE_WORKLOAD = [sys.executable, "-S", str(Path(__file__).parent / "fake_workload.py")]

if __name__ == "__main__":
    if "--beat" in sys.argv:
        at = sys.argv.index("--beat")
        pulse.BEAT_S = float(sys.argv[at + 1])
        del sys.argv[at : at + 2]
    sys.exit(main(workload_command=FAKE_WORKLOAD))
