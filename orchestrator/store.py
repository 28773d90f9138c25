"""The index of runs in SQLite, and the directory of each run.

One connection, used by one thread only, with a rollback journal: the SQLite in use has a known fault in
its write-ahead log with several connections. What is measured lives in `runs/<id>/`; the index only says
which runs there are and how they ended, as `run.json` in each directory does: written first, and what the
index is made from again where the two differ.
"""

import asyncio
import errno
import json
import secrets
import sqlite3
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from orchestrator import rundir

T = TypeVar("T")

ENDED = ("done", "invalid", "failed", "cancelled")
CAN_GO_ON = ("paused", "interrupted", "failed", "cancelled")
"""States of runs that have stopped without a result."""
SCHEMA_VERSION = 3
SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, experiment TEXT NOT NULL, lab TEXT, options TEXT NOT NULL,
    state TEXT NOT NULL, message TEXT NOT NULL, verdict TEXT,
    created TEXT NOT NULL, started TEXT, finished TEXT, imported TEXT,
    queued TEXT, interruptions INTEGER NOT NULL DEFAULT 0
) STRICT
"""
OLDER = {
    1: ("ALTER TABLE runs ADD COLUMN imported TEXT",),
    2: (
        "ALTER TABLE runs ADD COLUMN queued TEXT",
        "ALTER TABLE runs ADD COLUMN interruptions INTEGER NOT NULL DEFAULT 0",
    ),
}
"""What makes an index of each older version one of the next."""
AS_JSON = ("options", "imported")
"""The columns that hold JSON."""
UNDER_WAY = ("queued", "running")
"""States that a run has only while an orchestrator lives."""
INTERRUPTED = "interrupted: the orchestrator died"


class StoreError(Exception):
    """The index or a run's directory could not be read or written; the message says what and why."""


class StoreFull(StoreError):
    """There is no space left where the state lives. What was stored before is intact."""


@dataclass(frozen=True)
class Run:
    """One execution of an experiment. Times are UTC, ISO 8601. `lab` is None until one is chosen.

    `imported` says where a run was done that was not done here (archive.Origin), and when it came. `queued`
    is when it was last put into the queue of a server, None in that of a private orchestrator, and
    `interruptions` how often the server has died since while the run was under way.
    """

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
    imported: dict[str, Any] | None = None
    queued: str | None = None
    interruptions: int = 0

    @property
    def ended(self) -> bool:
        """True once the state will not change any more, unless it is told to go on."""
        return self.state in ENDED


FIELDS = frozenset(one.name for one in fields(Run))
TEXTS = FIELDS - {*AS_JSON, "interruptions"}


def now() -> str:
    """This moment in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_run_id() -> str:
    """An id that sorts by time of creation and is not guessed twice: 20260131-235959-4f2a91."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def interrupted(run: Run, why: str = INTERRUPTED) -> Run:
    """A run that was under way when its orchestrator died, as it is from then on."""
    return replace(run, state="interrupted", message=why, finished=now())


class Store:
    """All runs of one state directory. Open with `Store.open`; every method may raise StoreError."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._database: sqlite3.Connection | None = None
        # The latest truth about runs whose row could not be written (disk full); retried with every write.
        self._unwritten: dict[str, Run] = {}
        # Held by whoever imports: two of the same run must not meet.
        self.importing = asyncio.Lock()

    @classmethod
    async def open(cls, state: Path, left: Callable[[Run], Run] = interrupted) -> "Store":
        """Open or create the index; `left` says what becomes of a run that a dead orchestrator left under
        way. That is one step: whoever dies meanwhile leaves it to the next."""
        store = cls(state)
        try:
            await store._do(lambda database: store._open(database, left))
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
            rundir.create(self.state / "runs", run.id, asdict(run))
            self._insert(database, run)

        await self._do(work)
        return run

    async def adopt(self, run: Run, stage: Path) -> None:
        """Store a run that was done elsewhere, with its files in `stage`; both or neither. Raises
        FileExistsError where there is such a run."""

        def work(database: sqlite3.Connection) -> None:
            rundir.write(stage, asdict(run))
            rundir.publish(stage, self.directory(run.id))
            self._insert(database, run)

        await self._do(work)

    def stage(self, run_id: str) -> Path:
        """An empty directory, for `adopt`; whoever takes it discards what was not adopted. Raises OSError."""
        return rundir.staged(self.state / "runs", run_id)

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

    async def waiting(self) -> list[Run]:
        """The runs that are queued, in the order in which they were put there."""

        def work(database: sqlite3.Connection) -> list[Run]:
            order = "SELECT * FROM runs WHERE state = 'queued' ORDER BY queued, rowid"
            return [_run(row) for row in database.execute(order)]

        return await self._do(work)

    async def list(self, limit: int = 100) -> list[Run]:
        """The newest runs first."""

        def work(database: sqlite3.Connection) -> list[Run]:
            rows = database.execute("SELECT * FROM runs ORDER BY created DESC, rowid DESC LIMIT ?", (limit,))
            return [self._unwritten.get(row["id"]) or _run(row) for row in rows]

        return await self._do(work)

    async def states(self) -> dict[str, int]:
        """How many runs there are in each state."""

        def work(database: sqlite3.Connection) -> dict[str, int]:
            counted = database.execute("SELECT state, COUNT(*) FROM runs GROUP BY state")
            found = Counter({state: count for state, count in counted})
            for run in self._unwritten.values():
                for (state,) in database.execute("SELECT state FROM runs WHERE id = ?", (run.id,)):
                    found[state] -= 1
                    found[run.state] += 1
            return dict(found)

        return await self._do(work)

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the database's own thread, with the system's errors made into ours."""

        def guarded() -> T:
            try:
                return work(self._connection())
            except FileExistsError:
                raise
            except (sqlite3.Error, OSError) as error:
                raise explain(error, self.state) from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            self._database = connect(self.state)
        return self._database

    def _open(self, database: sqlite3.Connection, left: Callable[[Run], Run]) -> None:
        found = database.execute("PRAGMA user_version").fetchone()[0]
        if not 0 <= found <= SCHEMA_VERSION:
            raise StoreError(
                f"the index in {self.state} has version {found}, this program writes {SCHEMA_VERSION}"
            )
        with database:
            database.execute("BEGIN IMMEDIATE")
            database.execute(SCHEMA)
            for version in range(found or SCHEMA_VERSION, SCHEMA_VERSION):
                for statement in OLDER[version]:
                    database.execute(statement)
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        rundir.sweep(self.state / "runs")
        self._agree(database, left)

    def _agree(self, database: sqlite3.Connection, left: Callable[[Run], Run]) -> None:
        """Make the index and the directories say the same, whenever whoever wrote them was killed."""
        known = {row["id"]: _run(row) for row in database.execute("SELECT * FROM runs")}
        for name in rundir.names(self.state / "runs"):
            run = known.get(name)
            if run is not None and run.state not in UNDER_WAY:
                continue
            said = _said(self.directory(name))
            if said is None or said.id != name:
                continue
            if run is None and rundir.is_new(self.directory(name)):
                rundir.discard(self.directory(name))  # nobody was told of it
            elif run is None or said.state not in UNDER_WAY:
                known[name] = said
                self._upsert(database, said)
        for run in known.values():
            if run.state in UNDER_WAY:
                self._write(database, left(run))

    def _insert(self, database: sqlite3.Connection, run: Run) -> None:
        """The row of a run whose directory is there; without the one the other goes too."""
        try:
            self._upsert(database, run)
        except BaseException:
            rundir.discard(self.directory(run.id))
            raise

    def _write(self, database: sqlite3.Connection, run: Run) -> None:
        """What has become of a run. Somebody may have removed its directory."""
        if self.directory(run.id).is_dir():
            rundir.write(self.directory(run.id), asdict(run))
        self._upsert(database, run)

    @staticmethod
    def _upsert(database: sqlite3.Connection, run: Run) -> None:
        values = asdict(run)
        values |= {name: json.dumps(values[name]) for name in AS_JSON if values[name] is not None}
        names = ", ".join(values)
        with database:
            # An upsert and not REPLACE, which would give the row a new place in the order.
            database.execute(
                f"INSERT INTO runs ({names}) VALUES ({', '.join(':' + name for name in values)}) "
                "ON CONFLICT (id) DO UPDATE SET lab = :lab, state = :state, message = :message, "
                "verdict = :verdict, started = :started, finished = :finished, queued = :queued, "
                "interruptions = :interruptions",
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
        raise explain(error, state) from error


def _run(row: sqlite3.Row) -> Run:
    values = {name: row[name] for name in row.keys() if name in FIELDS}  # noqa: SIM118 (a Row is no dict)
    return Run(**values | {name: json.loads(values[name]) for name in AS_JSON if values.get(name)})


def _said(directory: Path) -> Run | None:
    """What a directory says of its run; None where that makes none: somebody may have edited it."""
    found = rundir.read(directory) or {}
    values = {name: value for name, value in found.items() if name in FIELDS}
    texts = [values.get(name) for name in TEXTS]
    needed = [values.get(name) for name in ("id", "experiment", "state", "message", "created")]
    options, imported = values.get("options"), values.get("imported")
    if (
        not all(one is None or isinstance(one, str) for one in texts)
        or any(one is None for one in needed)
        or not isinstance(options, dict)
        or not isinstance(imported, dict | None)
        or not isinstance(values.get("interruptions", 0), int)
    ):
        return None
    return Run(**values)


def explain(error: sqlite3.Error | OSError, state: Path) -> StoreError:
    """The system's error in the store's words."""
    full = (
        error.errno in (errno.ENOSPC, errno.EDQUOT)
        if isinstance(error, OSError)
        else getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
    )
    if full:
        return StoreFull(f"no space left for results in {state}")
    return StoreError(f"cannot use the index of results in {state}: {error}")
