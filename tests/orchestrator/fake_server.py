"""`python fake_server.py --listen ... | --unix ...`: the orchestrator's process over a fake machine."""

import sys

from orchestrator.server import arguments, run
from tests.orchestrator.fakes import FakeEngine, FakeKeeper

if __name__ == "__main__":
    sys.exit(run(arguments(), FakeKeeper, FakeEngine()))
