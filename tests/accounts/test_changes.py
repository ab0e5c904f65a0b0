"""The change feed: what one process writes, another forgets; and nothing stale is ever kept."""

from __future__ import annotations

import pytest
from django.db import transaction

from apps.accounts import changes
from apps.accounts.changes import (
    Cache,
    ChangeWatcher,
    NotInMemory,
    change_publish,
    generation,
    memory_only,
    snapshot_read,
)
from apps.accounts.models import ConfigChange

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def source() -> dict[str, str]:
    return {"a": "1", "b": "1"}


@pytest.fixture
def cache(source: dict[str, str]):
    made = Cache("test_thing", source.get)
    yield made
    changes._caches.remove(made)


@pytest.fixture
def watcher() -> ChangeWatcher:
    """As in another process: it learns of changes from the database alone."""
    made = ChangeWatcher()
    made.poll()
    return made


def publish_elsewhere(monkeypatch: pytest.MonkeyPatch, *, kind: str, ref: str) -> None:
    """A write whose own process is not this one."""
    with monkeypatch.context() as patch:
        patch.setattr(changes, "_apply", lambda _changes: None)
        with transaction.atomic():
            change_publish(kind=kind, ref=ref)


def test_a_change_made_elsewhere_is_forgotten_here_and_nothing_else_is(cache, source, watcher, monkeypatch):
    assert (cache.get("a"), cache.get("b")) == ("1", "1")
    source.update(a="2", b="2")
    publish_elsewhere(monkeypatch, kind="test_thing", ref="a")
    assert cache.get("a") == "1"
    watcher.poll()
    assert (cache.get("a"), cache.get("b")) == ("2", "1")


def test_a_change_of_all_of_a_kind_forgets_all_of_it(cache, source, watcher, monkeypatch):
    assert (cache.get("a"), cache.get("b")) == ("1", "1")
    source.update(a="2", b="2")
    publish_elsewhere(monkeypatch, kind="test_thing", ref="*")
    watcher.poll()
    assert (cache.get("a"), cache.get("b")) == ("2", "2")


def test_a_gap_in_the_feed_forgets_everything(cache, source, watcher, monkeypatch):
    cache.get("a")
    source["a"] = "2"
    publish_elsewhere(monkeypatch, kind="other", ref="x")
    publish_elsewhere(monkeypatch, kind="other", ref="y")
    ConfigChange.objects.order_by("version").first().delete()
    watcher.poll()
    assert cache.get("a") == "2"


def test_a_write_is_seen_by_its_own_process_at_once(cache, source):
    cache.get("a")
    with transaction.atomic():
        source["a"] = "2"
        change_publish(kind="test_thing", ref="a")
        assert cache.get("a") == "1"  # not committed yet
    assert cache.get("a") == "2"


def test_a_write_that_is_rolled_back_announces_nothing(cache, watcher):
    before = generation()
    with transaction.atomic():
        change_publish(kind="test_thing", ref="a")
        transaction.set_rollback(True)
    watcher.poll()
    assert generation() == before


def test_what_was_read_while_it_changed_is_used_once_and_not_kept(source):
    def load(key: str) -> str:
        value = source[key]
        if value == "1":
            source[key] = "2"
            cache.drop(key)  # the change comes in between reading and keeping
        return value

    cache = Cache("test_thing", load)
    try:
        assert cache.get("a") == "1"
        assert cache.get("a") == "2"
    finally:
        changes._caches.remove(cache)


def test_absence_is_not_remembered(cache, source):
    assert cache.get("new") is None
    source["new"] = "1"
    assert cache.get("new") == "1"


def test_the_least_recently_used_goes_first(source):
    loads = []

    def load(key: str) -> str:
        loads.append(key)
        return key

    cache = Cache("test_thing", load, max_items=2)
    try:
        for key in ("a", "b", "a", "c", "a", "b"):
            cache.get(key)
        assert loads == ["a", "b", "c", "b"]
    finally:
        changes._caches.remove(cache)


async def test_the_event_loop_never_asks_the_database_itself(cache, source):
    with memory_only(), pytest.raises(NotInMemory):
        cache.get("a")
    assert await snapshot_read(cache.get, "a") == "1"
    with memory_only():
        assert cache.get("a") == "1"
