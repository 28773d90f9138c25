"""`python fake_server.py --listen ... | --unix ...`: the orchestrator's process over a fake machine."""

import sys

from orchestrator.server import arguments, run
from tests.orchestrator.fake_engine import FakeEngine
from tests.orchestrator.fakes import FakeKeeper

if __name__ == "__main__":
    sys.exit(run(arguments(), FakeKeeper, FakeEngine()))
