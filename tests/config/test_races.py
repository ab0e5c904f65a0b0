"""Two requests at the same moment: one wins, the other is told so, neither is a 500."""

from __future__ import annotations

import json
import threading
from collections import Counter

import pytest
from django.db import connection
from django.test import Client

from apps.accounts.models import ApiKey, AuditEntry, Instance
from apps.config.models import ModelConfig, ProviderKey
from tests.factories import make_cast

pytestmark = pytest.mark.django_db(transaction=True)

RIVALS = 4


@pytest.fixture
def cast():
    return make_cast()


def all_at_once(method, path, key, body):
    """The statuses that `RIVALS` equal requests get."""
    barrier = threading.Barrier(RIVALS)
    statuses: Counter[int] = Counter()

    def send():
        client = Client()
        barrier.wait()
        try:
            response = client.generic(
                method,
                f"/config{path}",
                json.dumps(body),
                content_type="application/json",
                headers={"Authorization": f"Bearer {key}"},
            )
            statuses[response.status_code] += 1
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(RIVALS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return dict(statuses)


def test_one_of_several_equal_instances_is_made(cast):
    body = {"instance_id": "twin", "org_id": "brand-new", "name": "X", "api_keys": {"openai": "sk-1"}}
    assert all_at_once("POST", "/instance", cast.root_key, body) == {201: 1, 409: RIVALS - 1}
    assert Instance.objects.filter(instance_id="twin").count() == 1
    assert AuditEntry.objects.filter(entity="instance").count() == 1
    assert AuditEntry.objects.filter(entity="organization").count() == 1


def test_one_of_several_equal_users_is_made(cast):
    body = {"email": "twin@acme.test", "create_api_key": True}
    assert all_at_once("POST", "/user", cast.alice_key, body) == {201: 1, 409: RIVALS - 1}
    assert ApiKey.objects.filter(user__email="twin@acme.test").count() == 1


def test_one_of_several_equal_projects_is_made(cast):
    body = {"instance_id": "acme-main", "project_id": "twin", "name": "X"}
    assert all_at_once("POST", "/project", cast.alice_key, body) == {201: 1, 409: RIVALS - 1}


def test_one_of_several_equal_models_is_made(cast):
    body = {"model_id": "twin", "provider_id": "openai", "capabilities": {"text": True}}
    assert all_at_once("POST", "/model-config", cast.root_key, body) == {201: 1, 409: RIVALS - 1}
    assert ModelConfig.objects.count() == 1


def test_equal_provider_keys_are_stored_once(cast):
    body = {"instance_id": "acme-main", "provider": "openai", "api_key": "sk-1"}
    assert all_at_once("POST", "/provider-key", cast.alice_key, body) == {201: 1, 200: RIVALS - 1}
    assert ProviderKey.objects.count() == 1
    assert AuditEntry.objects.count() == 1


def test_a_key_is_rotated_once(cast):
    key_id = ApiKey.objects.filter(user=cast.rita).get().key_id
    statuses = all_at_once("POST", f"/api-key/{key_id}/rotate", cast.alice_key, {})
    assert statuses == {201: 1, 409: RIVALS - 1}
    assert ApiKey.objects.filter(user=cast.rita).count() == 2


def test_an_instance_is_deleted_once(cast):
    statuses = all_at_once("DELETE", "/instance/acme-main", cast.alice_key, {})
    assert statuses == {200: 1, 404: RIVALS - 1}
