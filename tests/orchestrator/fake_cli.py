"""`python fake_cli.py DIR VERB...`: the command line with fake private orchestrators, their sockets in DIR.

No orchestrator of this machine is found by it, unless $FAKE_DEFAULT is the address of one.
"""

import os
import sys
from pathlib import Path

from orchestrator.cli import connect, main, private

if __name__ == "__main__":
    directory = Path(sys.argv[1])
    os.environ["TRANSSHIP_RUN"] = str(directory)
    connect.DEFAULT = os.environ.get("FAKE_DEFAULT", "http://127.0.0.1:1")
    private.COMMAND = (sys.executable, str(Path(__file__).parent / "fake_server.py"))
    sys.exit(main.main(sys.argv[2:]))
