"""The index of runs in SQLite, and the directory of each run.

One connection, used by one thread only, with a rollback journal: the SQLite in use has a known fault in
its write-ahead log with several connections. What is measured lives in `runs/<id>/`; the index only says
which runs there are and how they ended.
"""

import asyncio
import errno
import json
import secrets
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

ENDED = ("done", "invalid", "failed", "cancelled")
CAN_GO_ON = ("paused", "interrupted", "failed", "cancelled")
"""States of runs that have stopped without a result."""
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, experiment TEXT NOT NULL, lab TEXT, options TEXT NOT NULL,
    state TEXT NOT NULL, message TEXT NOT NULL, verdict TEXT,
    created TEXT NOT NULL, started TEXT, finished TEXT
) STRICT
"""


class StoreError(Exception):
    """The index or a run's directory could not be read or written; the message says what and why."""


class StoreFull(StoreError):
    """There is no space left where the state lives. What was stored before is intact."""


@dataclass(frozen=True)
class Run:
    """One execution of an experiment. Times are UTC, ISO 8601. `lab` is None until one is chosen."""

    id: str
    experiment: str
    options: dict[str, Any] = field(default_factory=dict)
    lab: str | None = None
    state: str = "queued"
    message: str = ""
    verdict: str | None = None
    created: str = ""
    started: str | None = None
    finished: str | None = None

    @property
    def ended(self) -> bool:
        """True once the state will not change any more, unless it is told to go on."""
        return self.state in ENDED


def now() -> str:
    """This moment in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_run_id() -> str:
    """An id that sorts by time of creation and is not guessed twice: 20260131-235959-4f2a91."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


class Store:
    """All runs of one state directory. Open with `Store.open`; every method may raise StoreError."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._database: sqlite3.Connection | None = None
        # The latest truth about runs whose row could not be written (disk full); retried with every write.
        self._unwritten: dict[str, Run] = {}

    @classmethod
    async def open(cls, state: Path) -> "Store":
        """Open or create the index, and mark runs that a dead orchestrator left behind as interrupted."""
        store = cls(state)
        try:
            await store._do(store._open)
        except BaseException:
            store._thread.shutdown(wait=False)
            raise
        return store

    async def close(self) -> None:
        """Close the index."""
        await self._do(lambda database: database.close())
        self._thread.shutdown()

    def directory(self, run_id: str) -> Path:
        """Where the files of a run are."""
        return self.state / "runs" / run_id

    async def add(self, run: Run) -> Run:
        """Store a new run and create its directory; both or neither. Returns it with its time of creation."""
        run = replace(run, created=now())

        def work(database: sqlite3.Connection) -> None:
            directory = self.directory(run.id)
            directory.mkdir(parents=True)
            try:
                self._write(database, run)
            except BaseException:
                directory.rmdir()
                raise

        await self._do(work)
        return run

    async def update(self, run: Run) -> None:
        """Store the new state of a run. After StoreFull the change is kept in memory and tried again."""

        def work(database: sqlite3.Connection) -> None:
            self._unwritten[run.id] = run
            for waiting in list(self._unwritten.values()):
                self._write(database, waiting)
                del self._unwritten[waiting.id]

        await self._do(work)

    async def get(self, run_id: str) -> Run | None:
        """One run, None if there is none of this id."""

        def work(database: sqlite3.Connection) -> Run | None:
            row = database.execute("SELECT * FROM runs WHERE id = ?", (run_id,)).fetchone()
            return self._unwritten.get(run_id) or (_run(row) if row else None)

        return await self._do(work)

    async def list(self, limit: int = 100) -> list[Run]:
        """The newest runs first."""

        def work(database: sqlite3.Connection) -> list[Run]:
            rows = database.execute("SELECT * FROM runs ORDER BY created DESC, rowid DESC LIMIT ?", (limit,))
            return [self._unwritten.get(row["id"]) or _run(row) for row in rows]

        return await self._do(work)

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the database's own thread, with the system's errors made into ours."""

        def guarded() -> T:
            try:
                return work(self._connection())
            except (sqlite3.Error, OSError) as error:
                raise _explain(error, self.state) from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            self._database = connect(self.state)
        return self._database

    def _open(self, database: sqlite3.Connection) -> None:
        found = database.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, SCHEMA_VERSION):
            raise StoreError(
                f"the index in {self.state} has version {found}, this program writes {SCHEMA_VERSION}"
            )
        with database:
            database.execute(SCHEMA)
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            database.execute(
                "UPDATE runs SET state = 'interrupted', message = 'interrupted: the orchestrator died', "
                "finished = ? WHERE state IN ('queued', 'running')",
                (now(),),
            )

    @staticmethod
    def _write(database: sqlite3.Connection, run: Run) -> None:
        values = asdict(run) | {"options": json.dumps(run.options)}
        names = ", ".join(values)
        with database:
            # An upsert and not REPLACE, which would give the row a new place in the order.
            database.execute(
                f"INSERT INTO runs ({names}) VALUES ({', '.join(':' + name for name in values)}) "
                "ON CONFLICT (id) DO UPDATE SET lab = :lab, state = :state, message = :message, "
                "verdict = :verdict, started = :started, finished = :finished",
                values,
            )


def connect(state: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the index of a state directory. Raises sqlite3.Error."""
    path = state / "index.sqlite"
    database = sqlite3.connect(f"{path.as_uri()}?mode={'ro' if read_only else 'rwc'}", uri=True, timeout=10)
    database.row_factory = sqlite3.Row
    if not read_only:
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute("PRAGMA synchronous = FULL")
    return database


def read_runs(state: Path, limit: int = 100) -> list[Run]:
    """The newest runs of a state directory, read beside whatever orchestrator owns it. [] if it has none."""
    try:
        if not (state / "index.sqlite").exists():
            return []
        database = connect(state, read_only=True)
        try:
            rows = database.execute("SELECT * FROM runs ORDER BY created DESC, rowid DESC LIMIT ?", (limit,))
            return [_run(row) for row in rows]
        finally:
            database.close()
    except (sqlite3.Error, OSError) as error:
        raise _explain(error, state) from error


def _run(row: sqlite3.Row) -> Run:
    values = dict(row)
    return Run(**values | {"options": json.loads(values["options"])})


def _explain(error: sqlite3.Error | OSError, state: Path) -> StoreError:
    full = (
        error.errno in (errno.ENOSPC, errno.EDQUOT)
        if isinstance(error, OSError)
        else getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
    )
    if full:
        return StoreFull(f"no space left for results in {state}")
    return StoreError(f"cannot use the index of results in {state}: {error}")
