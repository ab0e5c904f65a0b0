"""Limits inside a real Valkey, and without one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from django.conf import settings

from apps.accounts.rules import LIMIT_NAMES
from apps.usage import limits
from apps.usage.limits import Limiter, LimitPlan, LimitReached, LimitScope


def plan(counter: str, name: str = "key", **named: int) -> LimitPlan:
    scope = LimitScope.make(name, f"{counter}:{time.time_ns()}", named)
    assert scope is not None
    return LimitPlan([scope])


@pytest_asyncio.fixture
async def limiter() -> AsyncIterator[Limiter]:
    made = Limiter(settings.DE_REDIS_URL)
    yield made
    await made.aclose()


@pytest_asyncio.fixture
async def lonely() -> AsyncIterator[Limiter]:
    """A limiter whose Redis is not there."""
    made = Limiter("unix:///nowhere/valkey.sock")
    yield made
    await made.aclose()


@pytest.fixture(params=["limiter", "lonely"])
def either(request: pytest.FixtureRequest) -> Limiter:
    found: Limiter = request.getfixturevalue(request.param)
    return found


def test_every_limit_that_can_be_set_is_counted():
    counted = {name for name, _, _ in limits._WINDOWS} | {"concurrent_requests"}
    assert counted == set(LIMIT_NAMES)


async def test_the_request_after_the_last_allowed_is_refused_with_true_numbers(either: Limiter):
    a_plan = plan("a", rpm=3)
    left = [int((await either.acquire(a_plan, tokens=0)).headers["X-RateLimit-Remaining"]) for _ in range(3)]
    assert left == [2, 1, 0]
    with pytest.raises(LimitReached) as refused:
        await either.acquire(a_plan, tokens=0)
    assert 59 <= refused.value.retry_after <= 61
    headers = refused.value.headers
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("3", "0")
    assert abs(int(headers["X-RateLimit-Reset"]) - (time.time() + refused.value.retry_after)) <= 1.5
    assert refused.value.details == {"scope": "key", "limit": "rpm", "value": 3}


async def test_retry_after_is_true_to_the_second(limiter: Limiter, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "_WINDOWS", (("rpm", "requests", 2),))
    a_plan = plan("short", rpm=2)
    for _ in range(2):
        await limiter.acquire(a_plan, tokens=0)
    with pytest.raises(LimitReached) as refused:
        await limiter.acquire(a_plan, tokens=0)
    asked_at = time.time()
    while True:
        try:
            await limiter.acquire(a_plan, tokens=0)
            break
        except LimitReached:
            await asyncio.sleep(0.02)
    waited = time.time() - asked_at
    assert refused.value.retry_after - 1.05 <= waited <= refused.value.retry_after + 0.05


async def test_two_limiters_share_one_count(limiter: Limiter):
    other = Limiter(settings.DE_REDIS_URL)
    a_plan = plan("shared", rpm=10)
    outcomes = await asyncio.gather(
        *(each.acquire(a_plan, tokens=0) for each in (limiter, other) * 10), return_exceptions=True
    )
    assert sum(isinstance(outcome, LimitReached) for outcome in outcomes) == 10
    assert not [bad for bad in outcomes if isinstance(bad, Exception) and not isinstance(bad, LimitReached)]
    await other.aclose()


async def test_slots_come_back_when_released_and_not_before(either: Limiter):
    a_plan = plan("slots", concurrent_requests=2)
    grants = [await either.acquire(a_plan, tokens=0) for _ in range(2)]
    with pytest.raises(LimitReached) as refused:
        await either.acquire(a_plan, tokens=0)
    assert refused.value.details["limit"] == "concurrent_requests"
    either.release(grants[0], tokens=0)
    await asyncio.sleep(0.05)
    await either.acquire(a_plan, tokens=0)


async def test_slots_of_a_process_that_died_come_back_by_themselves(
    limiter: Limiter, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "LEASE_S", 0.3)
    a_plan = plan("dead", concurrent_requests=1)
    dying = Limiter(settings.DE_REDIS_URL)
    await dying.acquire(a_plan, tokens=0)
    await dying.aclose()  # its renewals end, its slot is never given back
    with pytest.raises(LimitReached):
        await limiter.acquire(a_plan, tokens=0)
    await asyncio.sleep(0.4)
    await limiter.acquire(a_plan, tokens=0)


async def test_slots_of_a_long_request_are_kept_by_renewal(limiter: Limiter, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "LEASE_S", 0.4)
    monkeypatch.setattr(limits, "RENEW_INTERVAL_S", 0.1)
    a_plan = plan("long", concurrent_requests=1)
    await limiter.acquire(a_plan, tokens=0)
    await asyncio.sleep(0.8)
    with pytest.raises(LimitReached):
        await limiter.acquire(a_plan, tokens=0)


async def test_tokens_are_put_right_once_the_real_figure_is_known(either: Limiter):
    a_plan = plan("tokens", tpm=1000)
    grant = await either.acquire(a_plan, tokens=900)
    with pytest.raises(LimitReached) as refused:
        await either.acquire(a_plan, tokens=200)
    assert refused.value.details["limit"] == "tpm"
    either.release(grant, tokens=100)
    await asyncio.sleep(0.05)
    grant = await either.acquire(a_plan, tokens=200)
    either.release(grant, tokens=5000)
    await asyncio.sleep(0.05)
    with pytest.raises(LimitReached):
        await either.acquire(a_plan, tokens=1)


async def test_a_refusal_by_one_scope_counts_against_none(limiter: Limiter):
    free = LimitScope.make("key", f"free:{time.time_ns()}", {"rpm": 5})
    full = LimitScope.make("provider", f"full:{time.time_ns()}", {"rpm": 1})
    assert free is not None
    assert full is not None
    both = LimitPlan([free, full])
    await limiter.acquire(both, tokens=0)
    for _ in range(3):
        with pytest.raises(LimitReached):
            await limiter.acquire(both, tokens=0)
    grant = await limiter.acquire(LimitPlan([free]), tokens=0)
    assert grant.headers["X-RateLimit-Remaining"] == "3"


async def test_an_idle_window_is_empty_again(limiter: Limiter, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "_WINDOWS", (("rpm", "requests", 1),))
    a_plan = plan("idle", rpm=1)
    await limiter.acquire(a_plan, tokens=0)
    await asyncio.sleep(2.1)
    await limiter.acquire(a_plan, tokens=0)


async def test_without_redis_a_process_counts_for_itself_and_says_so(lonely: Limiter):
    a_plan = plan("alone", rpm=2)
    for _ in range(2):
        await lonely.acquire(a_plan, tokens=0)
    assert lonely.is_degraded
    with pytest.raises(LimitReached):
        await lonely.acquire(a_plan, tokens=0)


async def test_a_redis_that_hangs_costs_a_request_at_most_its_time_out():
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            pass
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    limiter = Limiter(f"redis://127.0.0.1:{port}")
    started = time.monotonic()
    for _ in range(50):
        await limiter.acquire(plan("hang", rpm=100), tokens=0)
    assert time.monotonic() - started < 1.0
    assert limiter.is_degraded
    await limiter.aclose()
    server.close()
    await asyncio.sleep(0.05)


async def test_a_redis_that_lost_its_scripts_is_taught_them_again(limiter: Limiter):
    from redis.asyncio import Redis

    a_plan = plan("flushed", rpm=5)
    await limiter.acquire(a_plan, tokens=0)
    redis = Redis.from_url(settings.DE_REDIS_URL)
    await redis.script_flush()
    await redis.aclose()
    grant = await limiter.acquire(a_plan, tokens=0)
    assert grant.headers["X-RateLimit-Remaining"] == "3"
    assert not limiter.is_degraded
