"""The admin panel: model configs are saved by the service, everything else is to look at."""

from __future__ import annotations

import json

import pytest

from apps.accounts.models import AuditEntry, ConfigChange
from apps.config.models import ModelConfig, ProviderKey
from apps.core.crypto import encrypt
from tests.config.conftest import make_model

PAGES = (
    *("organization", "instance", "instanceaccess", "project", "user", "apikey", "auditentry"),
    *("modelconfig", "providerkey", "price"),
)
FORM = {
    "model_id": "new-model",
    "provider_id": "openai",
    "display_name": "New",
    "capabilities": json.dumps({"text": True}),
    "status": "active",
}


def address(page, rest=""):
    app = "config" if page in ("modelconfig", "providerkey", "price") else "accounts"
    return f"/admin/{app}/{page}/{rest}"


@pytest.fixture
def panel(client, cast):
    ProviderKey.objects.create(
        instance=cast.instance, provider="openai", api_key_encrypted=encrypt("sk-acme"), hint="sk-…"
    )
    make_model("gpt-4o")
    client.force_login(cast.root)
    return client


@pytest.mark.parametrize("page", PAGES)
def test_every_list_opens_for_superadmins_only(panel, cast, page):
    assert panel.get(address(page)).status_code == 200
    panel.force_login(cast.alice)
    assert panel.get(address(page)).status_code == 403


@pytest.mark.parametrize("page", [page for page in PAGES if page != "modelconfig"])
def test_what_has_no_service_behind_it_cannot_be_changed(panel, cast, page):
    assert panel.get(address(page, "add/")).status_code == 403


def test_no_secret_and_no_hash_is_on_a_page(panel, cast):
    for page, row in (
        ("providerkey", ProviderKey.objects.get()),
        ("apikey", cast.bob.api_keys.first()),
        ("instance", cast.instance),
        ("user", cast.bob),
    ):
        html = panel.get(address(page, f"{row.pk}/change/")).content.decode()
        for name in ("api_key_encrypted", "key_hash", "webhook_secret_encrypted", "password"):
            if value := getattr(row, name, ""):
                assert value not in html


def test_a_model_is_added_through_the_service(panel, cast):
    response = panel.post(address("modelconfig", "add/"), FORM)
    assert response.status_code == 302, response.context["errors"]
    row = ModelConfig.objects.get(model_id="new-model")
    assert (row.config_id, row.adapter, row.model) == ("cfg_openai_new-model", "openai", "new-model")
    entry = AuditEntry.objects.get()
    assert (entry.actor_id, entry.action, entry.entity_id) == (cast.root.user_id, "create", row.config_id)
    assert ConfigChange.objects.filter(kind="model_config", ref="new-model").exists()


def test_a_models_change_is_audited_and_published(panel):
    form = FORM | {"model_id": "gpt-4o", "status": "beta", "adapter": "openai", "model": "gpt-4o"}
    response = panel.post(address("modelconfig", "cfg_openai_gpt-4o/change/"), form)
    assert response.status_code == 302, response.context["errors"]
    entry = AuditEntry.objects.get()
    assert entry.after == {"display_name": "New", "status": "beta"}
    assert ConfigChange.objects.filter(kind="model_config", ref="gpt-4o").exists()


def test_staff_see_the_mistake_and_where_it_is(panel):
    mapping = {"endpoint": "/v1", "bdy": {}, "response_mapping": {"text": "$.a"}}
    form = FORM | {"payload_mapping": json.dumps(mapping), "timeouts": json.dumps({"idle": 1})}
    response = panel.post(address("modelconfig", "add/"), form)
    assert response.status_code == 200
    errors = response.context["adminform"].form.errors
    assert set(errors) == {"payload_mapping", "timeouts"}
    assert "payload_mapping.bdy" in errors["payload_mapping"][0]
    assert not AuditEntry.objects.exists()


def test_deleting_models_one_by_one_and_as_a_choice(panel):
    make_model("gpt-4p")
    response = panel.post(address("modelconfig", "cfg_openai_gpt-4o/delete/"), {"post": "yes"})
    assert response.status_code == 302
    chosen = {"action": "delete_selected", "_selected_action": ["cfg_openai_gpt-4p"], "post": "yes"}
    assert panel.post(address("modelconfig"), chosen).status_code == 302
    assert not ModelConfig.objects.exists()
    assert [entry.action for entry in AuditEntry.objects.all()] == ["delete", "delete"]
