"""How a configuration change reaches every process within a second, without a query per request.

Each process keeps what it has read (keys, instances, model configs …) in `Cache`s. A write calls `change_publish`
in its own transaction; every process asks for new `ConfigChange` rows a few times a second (one indexed query in a
thread of its own) and drops just what changed. The feed is in the database, not in Redis, so that a change and its
announcement are committed together or not at all: docs/adr/0001-config-changes-travel-through-the-database.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, ParamSpec, TypeVar, cast

import structlog
from django.db import close_old_connections, connection, transaction
from django.db.models import F

from apps.accounts.models import ConfigChange, ConfigVersion

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")

POLL_INTERVAL_S = 0.4
KEPT_CHANGES = 10_000
ALL = "*"

_caches: list[Cache[Any]] = []
_any_change_listeners: list[Callable[[], None]] = []
_generation = 0
_mode = threading.local()


class NotInMemory(Exception):
    """A cache was asked, under `memory_only`, for something it has not read yet."""


class Cache(Generic[V]):
    """What this process has read of one kind, by key; the least recently used goes first.

    load: reads one key from the database, None when there is no such row (absence is not remembered, so that made-up
    keys can't push real ones out). is_derived: its keys are not the refs that changes name, so any change of the kind
    empties it.
    """

    def __init__(
        self, kind: str, load: Callable[[str], V | None], *, max_items: int = 10_000, is_derived: bool = False
    ) -> None:
        self.kind = kind
        self._load = load
        self._max_items = max_items
        self._is_derived = is_derived
        self._items: OrderedDict[str, V] = OrderedDict()
        self._lock = threading.Lock()
        self._drops = 0
        _caches.append(self)

    def get(self, key: str) -> V | None:
        """Raises NotInMemory when the database would have to be asked and `memory_only` forbids it."""
        try:
            value = self._items[key]
            self._items.move_to_end(key)
            return value
        except KeyError:
            pass
        if getattr(_mode, "memory_only", False):
            raise NotInMemory
        drops = self._drops
        loaded = self._load(key)
        if loaded is not None:
            self._keep(key, loaded, drops)
        return loaded

    def _keep(self, key: str, value: V, drops_before: int) -> None:
        with self._lock:
            # Something of this kind changed while we were reading: what we hold may be the old row, so use it
            # for this one request (it was current when asked for) but don't remember it.
            if self._drops != drops_before:
                return
            self._items[key] = value
            if len(self._items) > self._max_items:
                self._items.popitem(last=False)

    def drop(self, key: str) -> None:
        with self._lock:
            self._drops += 1
            if key == ALL or self._is_derived:
                self._items.clear()
            else:
                self._items.pop(key, None)


def generation() -> int:
    """How many changes this process has seen. What was put together from caches may be kept only if this is the same
    afterwards as before."""
    return _generation


def on_any_change(listener: Callable[[], None]) -> None:
    """Call `listener` after every change: for things put together from several caches."""
    _any_change_listeners.append(listener)


def change_publish(*, kind: str, ref: str) -> None:
    """Announce that a row of `kind` changed. Call inside the transaction of the write itself.

    The version row stays locked until commit, so versions become visible in order and a reader that has seen
    version n has seen everything before it.
    """
    ConfigVersion.objects.get_or_create(id=1)
    ConfigVersion.objects.filter(id=1).update(version=F("version") + 1)
    version = ConfigVersion.objects.values_list("version", flat=True).get(id=1)
    ConfigChange.objects.create(version=version, kind=kind, ref=ref)
    if version % 1_000 == 0:
        ConfigChange.objects.filter(version__lte=version - KEPT_CHANGES).delete()
    transaction.on_commit(lambda: _apply([(kind, ref)]))


def _apply(changes: list[tuple[str, str]]) -> None:
    global _generation
    _generation += 1
    for kind, ref in changes:
        for cache in _caches:
            if ALL in (kind, ref):
                if kind in (ALL, cache.kind):
                    cache.drop(ALL)
            elif cache.kind == kind:
                cache.drop(ref)
    for listener in _any_change_listeners:
        listener()


def caches_clear() -> None:
    """Forget everything: after a gap in the feed, and between tests."""
    _apply([(ALL, ALL)])


# --- reading from the event loop ----------------------------------------------------------------------------

_database_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="de-db")


@contextlib.contextmanager
def memory_only() -> Iterator[None]:
    """Inside, caches raise NotInMemory instead of asking the database (this thread only)."""
    _mode.memory_only = True
    try:
        yield
    finally:
        _mode.memory_only = False


async def snapshot_read(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of a synchronous read over the caches: at once when all of it is in memory, which it nearly always
    is, else from a database thread. `function` must not write."""
    try:
        with memory_only():
            return function(*args, **kwargs)
    except NotInMemory:
        return await run_in_database_thread(function, *args, **kwargs)


async def run_in_database_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function that uses the ORM off the event loop, on connections that are closed when stale."""

    def call() -> T:
        close_old_connections()
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()

    return cast(T, await asyncio.get_running_loop().run_in_executor(_database_threads, call))


def _version() -> int:
    """Asked several times a second for as long as the process lives, so without the ORM, which costs ten times this."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT version FROM {ConfigVersion._meta.db_table} WHERE id = 1")
        found = cursor.fetchone()
    return int(found[0]) if found else 0


# --- the thread that watches --------------------------------------------------------------------------------


class ChangeWatcher:
    """Follows the feed in a thread of its own; one per process."""

    def __init__(
        self, *, interval_s: float = POLL_INTERVAL_S, also: Callable[[], None] | None = None
    ) -> None:
        self._interval_s = interval_s
        self._also = also
        self._stopping = threading.Event()
        self._seen: int | None = None
        self._thread = threading.Thread(target=self._run, name="de-changes", daemon=True)

    def start(self) -> None:
        """Call `poll` once before, so that nothing read from then on can be missed."""
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        failing = False
        while not self._stopping.wait(self._interval_s):
            try:
                self.poll()
                if self._also is not None:
                    self._also()
                failing = False
            except Exception as exc:  # the thread must outlive a database that is away for a while
                if not failing:
                    log.warning("config_feed_unreadable", error=str(exc))
                failing = True
                close_old_connections()

    def poll(self) -> None:
        """Apply what is new. On a gap (rows pruned, a database restored from a backup) forget everything."""
        version = _version()
        seen, self._seen = self._seen, version
        if seen is None or version == seen:
            return
        changes = list(
            ConfigChange.objects.filter(version__gt=seen, version__lte=version).values_list("kind", "ref")
        )
        _apply(changes if len(changes) == version - seen else [(ALL, ALL)])
