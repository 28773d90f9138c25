"""Writes annotations to Grafana, in a thread of its own: runs never wait for it, however long it is away."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.access import AccessError, read_token
from orchestrator.annotations import Annotation, Annotations
from orchestrator.events import Event

log = logging.getLogger(__name__)

WAITING = 500
"""Annotations kept while Grafana is away; beyond them the oldest are given up."""
ANSWER_S = 3.0
"""Seconds that Grafana has for an answer."""
PAUSE_S = (0.5, 30.0)
"""Seconds until what failed is tried again: the first time, and at most."""
LONGEST_ERROR = 200
"""Characters of what is told of a failure."""
END_S = 2.0
"""Seconds at the end for what still waits."""

Write = Callable[[Annotation], None]


class Refused(Exception):
    """Grafana says that there is something wrong with this annotation; another try would not help."""


@dataclass(frozen=True)
class Grafana:
    """Where annotations go, and the token of a service account that may write them, or `user:password`."""

    url: str
    token: str | None = field(default=None, repr=False)


def grafana_at(url: str, token_file: Path | None) -> Grafana:
    """The Grafana that the options name. Raises AccessError, which names the option."""
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        whole = whole and ":" not in str(parts.hostname)  # the library cannot write such addresses
    except ValueError:
        whole = False
    if not whole or parts.username is not None or parts.query or parts.fragment:
        raise AccessError(f"--grafana {url!r}: give its address, such as http://127.0.0.1:3000")
    token = None if token_file is None else read_token(token_file, "--grafana-token-file")
    return Grafana(url.rstrip("/"), token)


def writer(grafana: Grafana) -> Write:
    """Writes one annotation. Raises OSError, ValueError or Refused."""
    # The library brings `requests` along: only who uses Grafana waits for that.
    from grafana_client import GrafanaApi
    from grafana_client.client import GrafanaBadInputError, GrafanaException

    # It wants paths to end in a slash.
    path = "" if urlsplit(grafana.url).path == "" else "/"
    user, colon, password = (grafana.token or "").partition(":")
    credential = (user, password) if colon else grafana.token
    api = GrafanaApi.from_url(grafana.url + path, credential=credential, timeout=ANSWER_S)
    api.client.s.max_redirects = 0  # the token is for nobody else

    def write(one: Annotation) -> None:
        try:
            answer = api.annotations.add_annotation(
                time_from=round(1000 * one.begin),
                time_to=None if one.end is None else round(1000 * one.end),
                tags=list(one.tags),
                text=one.text,
            )
        except GrafanaBadInputError as error:
            raise Refused(str(error)) from None
        except GrafanaException as error:
            raise OSError(str(error)) from None
        if not isinstance(answer, dict) or "id" not in answer:
            raise ValueError("the answer is not Grafana's")

    return write


class Annotator:
    """Hears events and has annotations of them written. `hear` never waits; `close` does, END_S at most."""

    def __init__(self, url: str, write: Callable[[], Write]) -> None:
        self._url = url
        self._made = Annotations()
        self._waiting: queue.Queue[Annotation | None] = queue.Queue(WAITING)
        self._away, self._lost = False, 0
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._work, args=[write], name="annotations for Grafana", daemon=True
        )
        self._thread.start()

    def hear(self, event: Event) -> None:
        """Queue the annotations of an event."""
        for one in self._made.of(event):
            self._put(one)

    def close(self) -> None:
        """Give what still waits END_S seconds."""
        self._put(None)
        self._closing.set()
        self._thread.join(END_S)

    def _put(self, one: Annotation | None) -> None:
        while True:
            try:
                return self._waiting.put_nowait(one)
            except queue.Full:
                try:
                    self._waiting.get_nowait()
                    self._lost += 1
                except queue.Empty:
                    pass  # the thread was quicker

    def _work(self, make: Callable[[], Write]) -> None:
        write = make()
        while (one := self._waiting.get()) is not None:
            if not self._persist(write, one):
                return

    def _persist(self, write: Write, one: Annotation) -> bool:
        """Try until it is written or refused; False when it is neither, at the end."""
        pause, most = PAUSE_S
        while True:
            try:
                write(one)
            except Refused as error:
                log.warning("Grafana at %s refuses an annotation (%s): %s", self._url, one.text, error)
            except (OSError, ValueError) as error:
                if not self._away:
                    self._away = True
                    log.warning(
                        "Grafana at %s does not take annotations (%s); up to %d wait until it does",
                        self._url,
                        str(error)[:LONGEST_ERROR],
                        WAITING,
                    )
                if self._closing.wait(pause):
                    return False
                pause = min(2 * pause, most)
                continue
            if self._away:
                self._away = False
                log.warning("Grafana at %s takes annotations again; %d were given up", self._url, self._lost)
                self._lost = 0
            return True
