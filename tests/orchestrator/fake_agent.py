"""`python fake_agent.py --run-root DIR --until-stdin-closes`: a machine agent with labs in memory only.

With a file `refuse` in DIR it refuses to start; it leaves `ended-well` there when it ended by itself.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from aiohttp import web

from agents.tokens import Tokens


def application() -> web.Application:
    app = web.Application()

    async def health(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "pid": os.getpid(), "run_root": "", "labs": 0})

    app.router.add_get("/health", health)
    return app


async def serve(root: Path, tokens: Tokens) -> None:
    app = application()
    tokens.guard(app)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(root / "machine.sock")).start()
    await asyncio.to_thread(sys.stdin.read)
    (root / "ended-well").touch()
    await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--run-root", type=Path)
    parser.add_argument("--until-stdin-closes", action="store_true")
    parser.add_argument("--tokens-from-stdin", action="store_true")
    root = parser.parse_args().run_root
    if (root / "refuse").exists():
        sys.exit("machine agent: refused")
    (root / "machine.sock").unlink(missing_ok=True)
    asyncio.run(serve(root, Tokens.model_validate_json(sys.stdin.readline())))
