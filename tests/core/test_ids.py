from __future__ import annotations

import time

from apps.core.ids import uuid7
from apps.core.requests import request_id_choose


def test_a_later_uuid7_sorts_after_an_earlier_one():
    first = uuid7()
    time.sleep(0.002)
    assert str(first) < str(uuid7())
    assert first.version == 7
    assert first.variant == "specified in RFC 4122"


def test_a_clients_request_id_is_kept_only_when_it_is_harmless():
    assert request_id_choose("abc-123") == "abc-123"
    assert request_id_choose("x" * 128) == "x" * 128
    for bad in ("", "x" * 129, "a b", "a\r\nSet-Cookie: x", "é", "a\x00", None):
        assert request_id_choose(bad) not in (bad, "")
