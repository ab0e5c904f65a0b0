from __future__ import annotations

from datetime import datetime

import pytest
from django.db import OperationalError, connection


@pytest.mark.django_db
def test_health_needs_no_key_and_no_envelope(call):
    response = call("GET", "/health")
    body = response.json()
    assert response.status_code == 200
    assert (body["status"], body["service"]) == ("healthy", "config-service")
    assert set(body) == {"status", "service", "version", "timestamp"}
    assert datetime.fromisoformat(body["timestamp"]).tzinfo is not None
    assert call("GET", "/health", "sk_live_unknown").status_code == 200


@pytest.fixture
def no_database(monkeypatch):
    def fail(*args, **kwargs):
        raise OperationalError("connection refused: password=hunter2")

    yield lambda: monkeypatch.setattr(connection, "cursor", fail)
    monkeypatch.undo()  # before the test's transaction is rolled back


@pytest.mark.django_db
def test_health_says_degraded_when_the_database_is_away(client, no_database):
    no_database()
    response = client.get("/config/health")
    assert (response.status_code, response.json()["status"]) == (503, "degraded")
    assert b"hunter2" not in response.content


def test_a_database_that_is_away_is_503_and_tells_nothing(client, cast, no_database):
    no_database()
    response = client.get("/config/instance", headers={"Authorization": f"Bearer {cast.bob_key}"})
    assert (response.status_code, response.json()["error_code"]) == (503, "SERVICE_UNAVAILABLE")
    assert b"hunter2" not in response.content
