"""The cast, and one way to call the config service."""

from __future__ import annotations

import json

import pytest

from apps.accounts.models import AuditEntry
from apps.config.models import ModelConfig
from tests.factories import make_cast


@pytest.fixture
def cast(db):
    return make_cast()


@pytest.fixture
def call(client, settings, django_capture_on_commit_callbacks):
    """call(method, path below /config, key, body) -> response; what waits for a commit runs."""
    settings.DE_BAD_KEY_RATE = "100000/m"

    def send(method, path, key="", body=None, *, raw=None, headers=None):
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
        with django_capture_on_commit_callbacks(execute=True):
            return client.generic(
                method, f"/config{path}", content, content_type="application/json", headers=headers
            )

    return send


@pytest.fixture
def audited(db):
    """Call it for what has been written since the last call, oldest first."""
    seen = AuditEntry.objects.order_by("-id").values_list("id", flat=True).first() or 0

    def since():
        nonlocal seen
        rows = list(AuditEntry.objects.filter(id__gt=seen).order_by("id"))
        seen = rows[-1].id if rows else seen
        return rows

    return since


def make_model(model_id="gpt-4o", **fields):
    fields = {
        "config_id": f"cfg_openai_{model_id}",
        "provider_id": "openai",
        "display_name": model_id,
        "adapter": "openai",
        "model": model_id,
        "capabilities": {"text": True},
    } | fields
    return ModelConfig.objects.create(model_id=model_id, **fields)
