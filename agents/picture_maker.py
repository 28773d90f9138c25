"""Makes pictures of what displays show: `python -m agents.picture_maker`, a child of a host agent.

Each line that it reads asks for one: {"manager": socket, "name": frame buffer} or {"pid": of a conventional
display}, and {"width": pixels at most, or null}. It answers with a line, {"frame": number, "bytes": N}, and
the N bytes of a PNG file behind it; or with {"missing": why there is none} or {"broken": why it failed}. The
end of its standard input ends it.

It is no part of the agent, which has one thread and may not stand still: attaching to a manager is for the
whole process and for good (its tier's rules), and who maps another's memory may die of it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from agents.shipping.viewer import look, look_into, png, shrunk


def make(asked: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The line that answers, and what follows it."""
    try:
        frame = look_into(asked["pid"]) if "pid" in asked else look(Path(asked["manager"]), asked["name"])
    except FileNotFoundError as error:
        return {"missing": str(error)}, b""
    except (OSError, ValueError) as error:
        return {"broken": f"{type(error).__name__}: {error}"}, b""
    if frame is None:
        return {"missing": "it has not shown a whole frame yet"}, b""
    image = png(shrunk(frame, asked["width"]))
    return {"frame": frame.number, "bytes": len(image)}, image


def main() -> int:
    """Answers until nobody asks any more."""
    for line in sys.stdin:
        answer, image = make(json.loads(line))
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + image)
        sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
