from __future__ import annotations

from apps.config.selectors import SANDBOX_PROVIDERS
from apps.sandbox.asgi import MAKERS


def test_test_keys_may_call_just_the_makers_the_sandbox_speaks():
    assert set(MAKERS) == SANDBOX_PROVIDERS
