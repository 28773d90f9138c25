"""Trials in processes of their own: what one leaves in its memory or in the kernel's no other finds."""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

_LIMIT_SECONDS, _CLEAN_SECONDS = 900, 120
_PR_SET_PDEATHSIG = 1


def apart(module: str, *arguments: str) -> dict[str, Any]:
    """What `python -m MODULE ARGUMENTS` prints last, as JSON.

    When this is interrupted, so is the trial, and it has cleaned up before the exception goes on.

    Raises:
        RuntimeError: it failed, or was not done in time; the message is the last line that it said.
    """
    trial = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=Path(__file__).resolve().parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal's Ctrl-C comes here first, and once
    )
    try:
        said, complained = trial.communicate(timeout=_LIMIT_SECONDS)
    except BaseException as error:
        trial.send_signal(signal.SIGINT)
        try:
            trial.communicate(timeout=_CLEAN_SECONDS)
        except subprocess.TimeoutExpired:
            trial.kill()
            trial.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise RuntimeError(f"not done after {_LIMIT_SECONDS} s") from error
        raise
    if trial.returncode != 0:
        raise RuntimeError((complained.strip().splitlines() or [f"exit status {trial.returncode}"])[-1])
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


def die_with_the_benchmark() -> None:
    """Has the kernel kill this process, a trial, when the one that started it is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
