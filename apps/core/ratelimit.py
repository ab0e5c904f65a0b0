"""The counting algorithm alone: a sliding window kept as small buckets.

A window of W seconds is counted in buckets of W/60 (at least one second). A bucket counts until all of it has left
the window, so no stretch of W seconds ever holds more than the limit, and the moment room returns is known exactly:
when the oldest bucket that matters falls out. `apps/usage/lua/acquire.lua` does the same inside Redis; this is its twin
for the time when Redis is away.
"""

from __future__ import annotations

from collections import OrderedDict

BUCKETS = 60


def bucket_seconds(window_s: int) -> int:
    return max(1, window_s // BUCKETS)


class SlidingWindow:
    """One counter in this process. now: Unix seconds, never going back by much."""

    def __init__(self, window_s: int) -> None:
        self._bucket_s = bucket_seconds(window_s)
        self._kept = window_s // self._bucket_s + 1  # whole buckets, and the one that is being filled
        self._buckets: OrderedDict[int, int] = OrderedDict()
        self.total = 0

    def add(self, amount: int, *, now: float) -> int:
        """Count `amount` now; the bucket it went to."""
        self._expire(now)
        bucket = int(now) // self._bucket_s
        self._buckets[bucket] = self._buckets.get(bucket, 0) + amount
        self.total += amount
        return bucket

    def correct(self, bucket: int, difference: int, *, now: float) -> None:
        """Change what was counted: downwards where it was counted (if still there), upwards now."""
        self._expire(now)
        if difference > 0:
            self.add(difference, now=now)
        elif bucket in self._buckets:
            self._buckets[bucket] += difference
            self.total += difference

    def wait_for(self, amount: int, limit: int, *, now: float) -> float:
        """Seconds until `amount` more fits under `limit`; 0 means now. An amount over the limit counts as the limit."""
        self._expire(now)
        excess = self.total + min(amount, limit) - limit
        if excess <= 0:
            return 0.0
        for bucket, count in self._buckets.items():
            excess -= count
            if excess <= 0:
                return (bucket + self._kept) * self._bucket_s - now
        return float(self._bucket_s)

    def restored_at(self, *, now: float) -> int:
        """Unix time when nothing counted until now counts any more."""
        return (int(now) // self._bucket_s + self._kept) * self._bucket_s

    def _expire(self, now: float) -> None:
        oldest = int(now) // self._bucket_s - self._kept + 1
        while self._buckets and (first := next(iter(self._buckets))) < oldest:
            self.total -= self._buckets.pop(first)
