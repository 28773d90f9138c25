"""A run from the client's side: asked for, followed to its end, cancelled when interrupted."""

import sys
import time
from typing import Any

from orchestrator.cli.client import ProblemReply, Server, ServerGone
from orchestrator.cli.failures import Failure
from orchestrator.cli.interrupt import Interrupted, interrupts
from orchestrator.cli.private import PrivateServer
from orchestrator.cli.progress import progress

STOPPED = ("failed", "cancelled", "paused", "interrupted")
ENDED = ("done", "invalid", *STOPPED)
CANCEL_S = 60.0

Json = dict[str, Any]


def execute(
    server: Server, private: PrivateServer | None, request: Json | None, path: str = "/api/v1/runs"
) -> Json:
    """Execute the run that `request` to `path` starts, and return how it ended. Raises Failure; on
    Interrupted it is cancelled and clean."""
    run: Json | None = None
    try:
        with interrupts.deferred():
            run = server.request("POST", path, request)
        assert run is not None
        with progress() as shown:
            return _until_ended(server, private, run["id"], shown.show)
    except Interrupted:
        if run is not None:
            _cancel(server, run["id"])
        raise
    except ServerGone as error:
        death = private.death() if private is not None else None
        if death is not None:
            raise Failure(f"{death}; its machine agent has cleaned up") from error
        later = f", and the run {run['id']} goes on when it is started again" if run and not private else ""
        raise Failure(f"{error}; if it died, its machine agent cleans up after it{later}") from error


def outcome(run: Json) -> None:
    """Raise Failure for a run that failed, or that somebody has stopped."""
    if run["state"] in STOPPED:
        said = run["message"]
        # What a message begins with need not be said before it.
        what = said if said.startswith(run["state"]) else f"{run['state']}: {said}"
        raise Failure(f"the run {run['id']} {what}")


def _until_ended(server: Server, private: PrivateServer | None, run_id: str, show: Any) -> Json:
    while True:
        try:
            for kind, data in server.events(run_id):
                if kind == "progress":
                    show(data)
                elif kind == "run" and data["state"] in STOPPED:
                    return {
                        **data,
                        "id": run_id,
                    }  # there is nothing more to ask, and the server may be ending
                elif kind == "run" and data["state"] in ENDED:
                    run: Json = server.request("GET", f"/api/v1/runs/{run_id}")
                    return run
                elif kind == "run" and data.get("state") == "queued":
                    show({"phase": "waiting for the run before this one", "done": 0, "total": 1})
                elif kind == "run" and data.get("progress"):
                    show(data["progress"])  # how things were when we began to listen
        except ServerGone:
            if server.health() is None:
                raise
        if private is not None and private.process.poll() is not None:
            raise ServerGone("the orchestrator ended")
        time.sleep(0.2)  # the stream ended while the server lives; the next one begins with how things are


def _cancel(server: Server, run_id: str) -> None:
    """Cancel a run and wait until it has cleaned up; the message to the user is the caller's."""
    print("transship: interrupted; cancelling the run and destroying its lab", file=sys.stderr, flush=True)
    deadline = time.monotonic() + CANCEL_S
    try:
        server.request("DELETE", f"/api/v1/runs/{run_id}")
        for kind, data in server.events(run_id):
            if (kind == "run" and data["state"] in ENDED) or time.monotonic() > deadline:
                return
    except (ProblemReply, ServerGone):
        return  # it has ended by itself, or its server has, which cleans up
