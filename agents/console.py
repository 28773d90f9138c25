"""A console: `python -m agents.console`, started by the machine agent with a terminal as its output.

Its setup (`agents.requests.Attendance`) is the first line of standard input. Then it is the login shell of
this user, in the host's network namespace, with a host agent's capabilities and a clean environment.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import sys
import termios

from agents.attendant import attend
from agents.host_privileges import KEPT
from agents.processes import PATH
from agents.requests import Console

FALLBACK = "/bin/sh"


def main() -> int:
    try:
        asked = attend(Console, keep=KEPT.values())
        os.dup2(1, 0)
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        user = pwd.getpwuid(os.getuid())
        shell = user.pw_shell if os.access(user.pw_shell, os.X_OK) else FALLBACK
        home = user.pw_dir if os.path.isdir(user.pw_dir) else "/"
        os.chdir(home)
        environment = {
            **{"PATH": PATH, "HOME": home, "SHELL": shell, "USER": user.pw_name, "LOGNAME": user.pw_name},
            **{"TERM": asked.terminal, "LANG": "C.UTF-8"},
        }
        os.execve(shell, [f"-{os.path.basename(shell)}"], environment)
    except (OSError, ValueError, KeyError) as error:
        print(f"no console: {error}\r", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
