from __future__ import annotations

import base64
import json
from unittest.mock import ANY

import pytest

from apps.accounts.models import ApiKey, Instance, InstanceAccess, Organization, Project
from apps.accounts.selectors import instance_get
from apps.config.models import ProviderKey
from apps.core.crypto import decrypt
from apps.usage.models import LedgerEntry
from tests.config.conftest import make_model
from tests.factories import make_key

SECRET = "sk-proj-abcdefghijklmnop1234"
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


def shown(response):
    assert response.status_code in (200, 201), response.content
    return response.json()["data"]


# --- create -------------------------------------------------------------------------------------------------


def test_a_superadmin_makes_an_instance_and_its_organization(call, cast, audited):
    body = {
        "instance_id": "initech-main",
        "org_id": "initech",
        "name": "Initech",
        "api_keys": {"openai": SECRET, "anthropic": "sk-ant-abcdefghijklmnop9876"},
        "rate_limits": {"openai": {"rpm": 500, "tpm": 100000, "concurrent_requests": 10}},
        "base_urls": {"openai": "http://gpu-box:8000/"},
        "r2_bucket": "initech/prod",
    }
    response = call("POST", "/instance", cast.root_key, body)
    assert response.status_code == 201
    assert response.json() == {"data": ANY, "request_id": ANY}
    assert shown(response) == {
        "instance_id": "initech-main",
        "org_id": "initech",
        "name": "Initech",
        "api_keys": {"anthropic": "sk-…9876", "openai": "sk-…1234"},
        "rate_limits": {"openai": {"rpm": 500, "tpm": 100000, "concurrent_requests": 10}},
        "base_urls": {"openai": "http://gpu-box:8000"},
        "default_model_id": "",
        "r2_bucket": "initech/prod",
        "authorized_users": [],
        "webhook_secret": ANY,
        "is_active": True,
        "created_at": ANY,
        "updated_at": ANY,
    }
    assert Organization.objects.filter(org_id="initech").exists()
    assert [(row.action, row.entity, row.entity_id) for row in audited()] == [
        ("create", "organization", "initech"),
        ("create", "instance", "initech-main"),
        ("create", "provider_key", "initech-main/openai"),
        ("create", "provider_key", "initech-main/anthropic"),
    ]


def test_an_org_admin_makes_one_in_their_own_organization_with_an_id_made_for_them(call, cast, audited):
    made = shown(call("POST", "/instance", cast.alice_key, {"name": "Second"}))
    assert made["org_id"] == "acme"
    assert made["instance_id"].startswith("inst_")
    (row,) = audited()
    assert (row.actor_kind, row.actor_id, row.org_id) == ("user", cast.alice.user_id, "acme")
    assert (row.before, row.after["name"]) == ({}, "Second")
    assert row.request_id
    assert row.key_id


def test_an_org_admin_makes_none_elsewhere_and_no_organization(call, cast):
    for org_id in ("globex", "brand-new"):
        assert call("POST", "/instance", cast.alice_key, {"org_id": org_id, "name": "X"}).status_code == 403
    assert not Organization.objects.filter(org_id="brand-new").exists()


def test_a_superadmin_without_an_organization_must_name_one(call, cast):
    response = call("POST", "/instance", cast.root_key, {"name": "X"})
    assert (response.status_code, list(response.json()["details"]["fields"])) == (400, ["org_id"])


def test_a_taken_id_is_a_conflict_and_leaves_nothing(call, cast, audited):
    for instance_id in ("acme-main", "globex-main"):
        body = {
            "instance_id": instance_id,
            "org_id": "brand-new",
            "name": "X",
            "api_keys": {"openai": SECRET},
        }
        response = call("POST", "/instance", cast.root_key, body)
        assert (response.status_code, response.json()["error_code"]) == (409, "CONFLICT")
    assert not Organization.objects.filter(org_id="brand-new").exists()
    assert not ProviderKey.objects.exists()
    assert audited() == []


@pytest.mark.parametrize("instance_id", ["a", "A.b_c-9", "9" * 64, "health", "instance"])
def test_unusual_ids_work_in_every_path(call, cast, instance_id):
    shown(call("POST", "/instance", cast.alice_key, {"instance_id": instance_id, "name": "X"}))
    assert shown(call("GET", f"/instance/{instance_id}", cast.alice_key))["instance_id"] == instance_id
    assert shown(call("DELETE", f"/instance/{instance_id}", cast.alice_key))["deleted"] is True


# --- secrets ------------------------------------------------------------------------------------------------


def test_secrets_are_nowhere_but_in_the_encrypted_columns(call, cast, audited):
    body = {
        "instance_id": "new",
        "name": "X",
        "api_keys": {"openai": SECRET},
        "webhook_secret": WEBHOOK_SECRET,
    }
    answers = [
        call("POST", "/instance", cast.alice_key, body),
        call("PUT", "/instance/new", cast.alice_key, {"api_keys": {"gemini": SECRET}, "name": "Y"}),
        call("GET", "/instance/new", cast.alice_key),
        call("GET", "/instance", cast.root_key),
        call("GET", "/provider-key/new", cast.alice_key),
        call("GET", "/audit", cast.alice_key),
    ]
    for response in answers:
        assert response.status_code in (200, 201)
        assert SECRET not in response.content.decode()
        assert WEBHOOK_SECRET not in response.content.decode()
    for row in audited():
        assert SECRET not in json.dumps([row.before, row.after])
        assert WEBHOOK_SECRET not in json.dumps([row.before, row.after])
    instance = Instance.objects.get(pk="new")
    assert decrypt(instance.webhook_secret_encrypted) == WEBHOOK_SECRET
    for row in [instance, *ProviderKey.objects.filter(instance=instance)]:
        plain = {name: str(value) for name, value in vars(row).items()}
        assert SECRET not in str(plain)
        assert WEBHOOK_SECRET not in str(plain)
    assert {decrypt(row.api_key_encrypted) for row in ProviderKey.objects.all()} == {SECRET}


def test_a_webhook_secret_is_made_and_shown_once(call, cast):
    made = shown(call("POST", "/instance", cast.alice_key, {"instance_id": "new", "name": "X"}))[
        "webhook_secret"
    ]
    assert made.startswith("whsec_")
    assert len(base64.b64decode(made.removeprefix("whsec_"), validate=True)) == 24
    masked = shown(call("GET", "/instance/new", cast.alice_key))["webhook_secret"]
    assert masked == f"whs…{made[-4:]}"
    again = shown(call("PUT", "/instance/new", cast.alice_key, {"webhook_secret": None}))["webhook_secret"]
    assert again.startswith("whsec_")
    assert again != made


def test_a_new_webhook_secret_is_kept_though_it_looks_like_the_old_one(call, cast, audited):
    for byte in (b"a", b"b"):
        secret = "whsec_" + base64.b64encode(byte * 24 + b"same end").decode()
        audited()
        shown(call("PUT", "/instance/acme-main", cast.alice_key, {"webhook_secret": secret}))
        assert decrypt(Instance.objects.get(pk="acme-main").webhook_secret_encrypted) == secret
        assert len(audited()) == 1
    shown(call("PUT", "/instance/acme-main", cast.alice_key, {"webhook_secret": secret}))
    assert audited() == []


# --- read ---------------------------------------------------------------------------------------------------


def test_lists_hold_only_what_the_caller_may_see(call, cast):
    def listed(key, path="/instance"):
        data = shown(call("GET", path, key))
        assert data["total"] == len(data["instances"])
        assert data["next"] is None
        return [row["instance_id"] for row in data["instances"]]

    assert listed(cast.root_key) == ["acme-main", "globex-main"]
    for key in (cast.alice_key, cast.bob_key, cast.rita_key, cast.project_key):
        assert listed(key) == ["acme-main"]
    assert listed(cast.charlie_key) == ["globex-main"]
    assert listed(cast.root_key, "/instance?org_id=globex") == ["globex-main"]
    assert listed(cast.bob_key, "/instance?org_id=acme") == ["acme-main"]


def test_an_org_admin_with_accesses_sees_each_instance_once(call, cast):
    InstanceAccess.objects.create(user=cast.alice, instance=cast.instance, permission="owner")
    InstanceAccess.objects.create(user=cast.alice, instance=cast.other_instance, permission="readonly")
    data = shown(call("GET", "/instance", cast.alice_key))
    assert [row["instance_id"] for row in data["instances"]] == ["acme-main", "globex-main"]


def test_pages_follow_each_other(call, cast):
    for number in range(5):
        Instance.objects.create(instance_id=f"p{number}", org=cast.acme, name="X")
    seen, path = [], "/instance?limit=2"
    for _ in range(4):
        data = shown(call("GET", path, cast.alice_key))
        assert data["total"] == 6
        seen += [row["instance_id"] for row in data["instances"]]
        path = f"/instance?limit=2&after={data['next']}"
        if data["next"] is None:
            break
    assert seen == ["acme-main", "p0", "p1", "p2", "p3", "p4"]


def test_a_list_takes_the_same_queries_however_long_it_is(call, cast, django_assert_max_num_queries):
    for number in range(20):
        row = Instance.objects.create(instance_id=f"p{number}", org=cast.acme, name="X")
        InstanceAccess.objects.create(user=cast.bob, instance=row)
    call("GET", "/instance", cast.alice_key)
    with django_assert_max_num_queries(4):
        call("GET", "/instance", cast.alice_key)


# --- update -------------------------------------------------------------------------------------------------


def test_put_changes_only_the_fields_sent(call, cast, audited):
    before = shown(call("GET", "/instance/acme-main", cast.alice_key))
    after = shown(call("PUT", "/instance/acme-main", cast.alice_key, {"rate_limits": {"openai": {"rpm": 7}}}))
    assert {name for name in after if after[name] != before[name]} == {"rate_limits", "updated_at"}
    (row,) = audited()
    assert (row.action, row.entity, row.instance_id) == ("update", "instance", "acme-main")
    assert (row.before, row.after) == ({"rate_limits": {}}, {"rate_limits": {"openai": {"rpm": 7}}})


def test_an_instance_can_be_sent_back_as_it_was_read(call, cast, audited):
    keys = {"openai": SECRET, "anthropic": "short"}
    shown(call("PUT", "/instance/acme-main", cast.alice_key, {"api_keys": keys, "webhook_secret": None}))
    audited()
    read = shown(call("GET", "/instance/acme-main", cast.alice_key))
    assert shown(call("PUT", "/instance/acme-main", cast.alice_key, read)) == read
    assert audited() == []
    assert decrypt(ProviderKey.objects.get(provider="openai").api_key_encrypted) == SECRET


def test_api_keys_are_merged_and_null_removes(call, cast, audited):
    call("PUT", "/instance/acme-main", cast.alice_key, {"api_keys": {"openai": SECRET, "gemini": SECRET}})
    changes = {"api_keys": {"gemini": None, "anthropic": SECRET, "ideogram": None}}
    assert shown(call("PUT", "/instance/acme-main", cast.alice_key, changes))["api_keys"] == {
        "anthropic": "sk-…1234",
        "openai": "sk-…1234",
    }
    assert [(row.action, row.entity_id) for row in audited()] == [
        ("create", "acme-main/openai"),
        ("create", "acme-main/gemini"),
        ("delete", "acme-main/gemini"),
        ("create", "acme-main/anthropic"),
    ]


def test_another_keys_mask_is_refused(call, cast):
    call("PUT", "/instance/acme-main", cast.alice_key, {"api_keys": {"openai": SECRET}})
    for api_keys in ({"openai": "sk-…9999"}, {"gemini": "sk-…1234"}):
        response = call("PUT", "/instance/acme-main", cast.alice_key, {"api_keys": api_keys})
        assert response.status_code == 400
        assert list(response.json()["details"]["fields"]) == [f"api_keys.{next(iter(api_keys))}"]


def test_ids_cannot_be_changed(call, cast):
    for body in ({"instance_id": "other"}, {"org_id": "globex"}):
        response = call("PUT", "/instance/acme-main", cast.root_key, body)
        assert (response.status_code, list(response.json()["details"]["fields"])) == (400, list(body))


def test_the_default_model_must_exist(call, cast):
    make_model("gpt-4o")
    assert shown(call("PUT", "/instance/acme-main", cast.alice_key, {"default_model_id": "gpt-4o"}))
    response = call("PUT", "/instance/acme-main", cast.alice_key, {"default_model_id": "nope"})
    assert (response.status_code, response.json()["error_code"]) == (404, "MODEL_NOT_FOUND")
    assert shown(call("PUT", "/instance/acme-main", cast.alice_key, {"default_model_id": ""}))


def test_a_change_is_seen_by_the_next_request(call, cast):
    assert instance_get("acme-main").rate_limits == {}
    call("PUT", "/instance/acme-main", cast.alice_key, {"rate_limits": {"openai": {"rpm": 7}}})
    assert instance_get("acme-main").rate_limits == {"openai": {"rpm": 7}}


# --- authorized users ---------------------------------------------------------------------------------------


def test_authorized_users_are_set_as_a_whole_and_a_bare_id_means_user(call, cast, audited):
    bob, rita, alice = cast.bob.user_id, cast.rita.user_id, cast.alice.user_id
    wanted = [bob, {"user_id": alice, "permission": "owner"}]
    listed = shown(call("PUT", "/instance/acme-main", cast.alice_key, {"authorized_users": wanted}))
    expected = [{"user_id": bob, "permission": "user"}, {"user_id": alice, "permission": "owner"}]
    assert listed["authorized_users"] == sorted(expected, key=lambda access: access["user_id"])
    (row,) = audited()
    assert row.before["authorized_users"] == {bob: "user", rita: "readonly"}
    assert row.after["authorized_users"] == {bob: "user", alice: "owner"}


def test_a_changed_permission_holds_for_the_very_next_request(call, cast):
    assert call("GET", "/instance/acme-main", cast.rita_key).status_code == 200
    assert call("PUT", "/instance/acme-main", cast.bob_key, {"name": "X"}).status_code == 403
    wanted = [{"user_id": cast.bob.user_id, "permission": "admin"}]
    call("PUT", "/instance/acme-main", cast.alice_key, {"authorized_users": wanted})
    assert call("GET", "/instance/acme-main", cast.rita_key).status_code == 403
    assert call("PUT", "/instance/acme-main", cast.bob_key, {"name": "X"}).status_code == 200


def test_only_users_of_the_organization_can_be_authorized(call, cast):
    for stranger in (cast.charlie.user_id, cast.root.user_id, "usr_nobody"):
        body = {"authorized_users": [cast.bob.user_id, stranger]}
        response = call("PUT", "/instance/acme-main", cast.root_key, body)
        assert response.status_code == 400
        assert list(response.json()["details"]["fields"]) == ["authorized_users.1"]
    assert InstanceAccess.objects.filter(instance=cast.instance).count() == 2


def test_whoever_has_access_already_may_stay(call, cast):
    InstanceAccess.objects.create(user=cast.charlie, instance=cast.instance, permission="readonly")
    read = shown(call("GET", "/instance/acme-main", cast.alice_key))
    assert shown(call("PUT", "/instance/acme-main", cast.alice_key, read)) == read


def test_a_user_listed_twice_is_refused(call, cast):
    body = {"authorized_users": [cast.bob.user_id, {"user_id": cast.bob.user_id, "permission": "admin"}]}
    assert call("PUT", "/instance/acme-main", cast.alice_key, body).status_code == 400


def test_an_instance_admin_grants_nothing_above_their_own_permission(call, cast):
    bob, rita = cast.bob.user_id, cast.rita.user_id
    cast.instance.accesses.filter(user=cast.bob).update(permission="admin")
    InstanceAccess.objects.create(user=cast.alice, instance=cast.instance, permission="owner")
    alice = {"user_id": cast.alice.user_id, "permission": "owner"}

    def put(*users):
        return call("PUT", "/instance/acme-main", cast.bob_key, {"authorized_users": list(users)}).status_code

    me = {"user_id": bob, "permission": "admin"}
    assert put(alice, {"user_id": bob, "permission": "owner"}) == 403
    assert put(alice, me, {"user_id": rita, "permission": "owner"}) == 403
    assert put(me) == 403, "Alice, an owner, is not an admin's to remove"
    assert put(alice, me, {"user_id": rita, "permission": "admin"}) == 200


# --- delete -------------------------------------------------------------------------------------------------


def test_deleting_takes_everything_but_the_ledger(call, cast, audited):
    call("PUT", "/instance/acme-main", cast.alice_key, {"api_keys": {"openai": SECRET}})
    LedgerEntry.objects.create(
        request_id="r", instance_id="acme-main", project_id="acme-web", service="text", model_id="m",
        provider_id="openai", provider_model="m", status="succeeded",
    )  # fmt: skip
    assert call("GET", "/instance", cast.project_key).status_code == 200
    assert call("GET", "/instance/acme-main", cast.bob_key).status_code == 200
    audited()
    response = call("DELETE", "/instance/acme-main", cast.alice_key)
    assert shown(response) == {"deleted": True, "instance_id": "acme-main"}
    assert not Project.objects.exists()
    assert not ProviderKey.objects.exists()
    assert not ApiKey.objects.filter(project__isnull=False).exists()
    assert LedgerEntry.objects.get().instance_id == "acme-main"
    (row,) = audited()
    assert (row.action, row.before["projects"], row.after) == ("delete", ["acme-web"], {})
    # At once, though this process held all of them in memory.
    assert call("GET", "/instance", cast.project_key).status_code == 401
    assert call("GET", "/instance/acme-main", cast.bob_key).status_code == 404
    assert call("DELETE", "/instance/acme-main", cast.alice_key).status_code == 404
    cast.bob.refresh_from_db()
    assert cast.bob.default_instance_id is None


def test_a_limited_key_still_works_as_far_as_its_limits_go(call, cast):
    key = make_key(cast.alice, allowed_services=["config"], allowed_networks=["127.0.0.0/8"])
    assert call("PUT", "/instance/acme-main", key, {"name": "X"}).status_code == 200
    assert call("GET", "/instance", make_key(cast.alice, allowed_networks=["10.0.0.0/8"])).status_code == 403
