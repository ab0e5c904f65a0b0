from __future__ import annotations

import json
from unittest.mock import ANY

from apps.accounts.models import ConfigChange
from apps.config.models import ProviderKey
from apps.core.crypto import decrypt

SECRET = "sk-ant-api03-abcdefghijklmnop1234"


def shown(response):
    assert response.status_code in (200, 201), response.content
    return response.json()["data"]


def store(call, cast, api_key=SECRET, provider="anthropic"):
    body = {"instance_id": "acme-main", "provider": provider, "api_key": api_key}
    return call("POST", "/provider-key", cast.alice_key, body)


def test_a_key_goes_in_encrypted_and_never_comes_back(call, cast, audited):
    response = store(call, cast)
    assert response.status_code == 201
    expected = {
        "instance_id": "acme-main",
        "provider": "anthropic",
        "configured": True,
        "hint": "sk-…1234",
        "updated_at": ANY,
    }
    assert shown(response) == expected
    assert decrypt(ProviderKey.objects.get().api_key_encrypted) == SECRET
    assert SECRET not in str(ProviderKey.objects.values())
    assert shown(call("GET", "/provider-key/acme-main/anthropic", cast.rita_key)) == expected
    assert shown(call("GET", "/provider-key/acme-main", cast.project_key)) == {
        "instance_id": "acme-main",
        "provider_keys": [expected],
        "total": 1,
    }
    (row,) = audited()
    assert (row.action, row.entity, row.entity_id) == ("create", "provider_key", "acme-main/anthropic")
    assert (row.org_id, row.instance_id, row.after["hint"]) == ("acme", "acme-main", "sk-…1234")
    assert SECRET not in json.dumps([row.before, row.after])
    assert ConfigChange.objects.filter(kind="provider_key", ref="acme-main").exists()


def test_a_key_is_replaced_and_the_same_key_is_not_written_twice(call, cast, audited):
    store(call, cast)
    audited()
    assert store(call, cast).status_code == 200
    assert audited() == []
    assert store(call, cast, "sk-ant-api03-zzzzzzzzzzzzzzzz9999").status_code == 200
    (row,) = audited()
    assert (row.action, row.before["hint"], row.after["hint"]) == ("update", "sk-…1234", "sk-…9999")
    assert decrypt(ProviderKey.objects.get().api_key_encrypted).endswith("9999")


def test_a_short_keys_change_is_recorded_though_its_mask_says_nothing(call, cast, audited):
    store(call, cast, "short-1")
    audited()
    store(call, cast, "short-2")
    (row,) = audited()
    assert row.action == "update"
    assert "short" not in json.dumps([row.before, row.after])


def test_a_key_that_cannot_be_read_any_more_can_be_replaced(call, cast):
    store(call, cast)
    ProviderKey.objects.update(api_key_encrypted="gAAAA-of-a-lost-key")
    assert store(call, cast).status_code == 200
    assert decrypt(ProviderKey.objects.get().api_key_encrypted) == SECRET


def test_deleting_it(call, cast, audited):
    store(call, cast)
    audited()
    path = "/provider-key/acme-main/anthropic"
    expected = {"deleted": True, "instance_id": "acme-main", "provider": "anthropic"}
    assert shown(call("DELETE", path, cast.alice_key)) == expected
    assert [(row.action, row.before["hint"]) for row in audited()] == [("delete", "sk-…1234")]
    assert call("DELETE", path, cast.alice_key).status_code == 404
    assert call("GET", path, cast.alice_key).status_code == 404


def test_white_space_around_a_pasted_key_is_dropped(call, cast):
    store(call, cast, f"  {SECRET}\n")
    assert decrypt(ProviderKey.objects.get().api_key_encrypted) == SECRET
