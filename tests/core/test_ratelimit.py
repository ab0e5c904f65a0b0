from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from apps.core.ratelimit import SlidingWindow


def test_room_returns_exactly_when_the_oldest_bucket_leaves():
    window = SlidingWindow(60)
    window.add(1, now=1000.5)
    window.add(1, now=1010.0)
    wait = window.wait_for(1, 2, now=1020.0)
    assert wait == 41.0  # 1061 - 1020: the bucket of second 1000 has wholly left by then
    assert window.wait_for(1, 2, now=1020.0 + wait - 0.01) > 0
    assert window.wait_for(1, 2, now=1020.0 + wait) == 0


def test_an_amount_larger_than_the_limit_passes_an_empty_window_only():
    window = SlidingWindow(60)
    assert window.wait_for(500, 100, now=0) == 0
    window.add(100, now=0)
    assert window.wait_for(500, 100, now=1) > 0


def test_giving_back_never_lets_the_total_fall_below_what_still_counts():
    window = SlidingWindow(60)
    bucket = window.add(100, now=0)
    window.correct(bucket, -60, now=30)
    assert window.total == 40
    window.add(1, now=70)
    assert window.total == 1


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 5)), max_size=200),
    st.integers(1, 20),
)
def test_no_stretch_of_a_window_ever_holds_more_than_the_limit(steps: list[tuple[float, int]], limit: int):
    window, now, accepted = SlidingWindow(60), 0.0, []
    for gap, amount in steps:
        now += gap
        if amount <= limit and window.wait_for(amount, limit, now=now) == 0:
            window.add(amount, now=now)
            accepted.append((now, amount))
    for start, _ in accepted:
        assert sum(amount for at, amount in accepted if start <= at < start + 60) <= limit
