from __future__ import annotations

import re
from datetime import timedelta
from unittest.mock import ANY

import pytest
from django.utils import timezone

from apps.accounts.keys import key_hash
from apps.accounts.models import ApiKey
from tests.config.conftest import make_model
from tests.factories import make_key, yesterday

KEY = re.compile(r"sk_(live|test)_[0-9a-f]{64}")


def shown(response):
    assert response.status_code in (200, 201), response.content
    return response.json()["data"]


def row_of(raw):
    return ApiKey.objects.get(key_hash=key_hash(raw))


# --- create -------------------------------------------------------------------------------------------------


def test_a_user_makes_a_key_for_themself_and_sees_it_once(call, cast, audited):
    make_model("gpt-4o")
    body = {
        "name": "CI",
        "mode": "live",
        "expires_at": "2100-01-01T00:00:00Z",
        "allowed_models": ["gpt-4o"],
        "allowed_services": ["text", "config", "text"],
        "allowed_networks": ["127.0.0.1/8"],
        "rate_limits": {"rpm": 60},
    }
    response = call("POST", "/api-key", cast.rita_key, body)
    assert response.status_code == 201
    made = shown(response)
    raw = made.pop("api_key")
    assert KEY.fullmatch(raw)
    assert made == body | {
        "key_id": ANY,
        "hint": f"sk_live_…{raw[-4:]}",
        "state": "active",
        "user_id": cast.rita.user_id,
        "project_id": None,
        "allowed_services": ["text", "config"],
        "allowed_networks": ["127.0.0.0/8"],
        "grace_until": None,
        "rotated_to": None,
        "revoked_at": None,
        "last_used_at": None,
        "created_by": cast.rita.user_id,
        "created_at": ANY,
        "updated_at": ANY,
    }
    assert shown(call("GET", f"/api-key/{made['key_id']}", raw)) == made
    (row,) = audited()
    assert (row.action, row.entity, row.entity_id) == ("create", "api_key", made["key_id"])
    assert row.after["allowed_models"] == ["gpt-4o"]


def test_neither_key_nor_hash_is_in_any_list_or_audit_row_or_column(call, cast, audited):
    response = call("POST", "/api-key", cast.bob_key, {"name": "CI"})
    raw = shown(response)["api_key"]
    stored = str(ApiKey.objects.filter(key_hash=key_hash(raw)).values())
    assert raw not in stored
    rows = audited()
    for secret in (raw, key_hash(raw)):
        assert secret not in str([(row.before, row.after) for row in rows])
        for path in ("/api-key", f"/api-key/{shown(response)['key_id']}"):
            assert secret not in call("GET", path, cast.bob_key).content.decode()
    assert key_hash(raw) not in response.content.decode()


def test_keys_of_projects_are_made_by_the_instances_admins(call, cast):
    made = shown(call("POST", "/api-key", cast.alice_key, {"name": "Web", "project_id": "acme-web"}))
    assert (made["project_id"], made["user_id"]) == ("acme-web", None)
    assert shown(call("GET", "/instance", made["api_key"]))["total"] == 1


def test_keys_of_users_are_made_by_the_organizations_admins(call, cast):
    made = shown(call("POST", "/api-key", cast.alice_key, {"name": "For Bob", "user_id": cast.bob.user_id}))
    assert (made["user_id"], made["created_by"]) == (cast.bob.user_id, cast.alice.user_id)


def test_a_key_belongs_to_one_owner(call, cast):
    body = {"name": "X", "user_id": cast.bob.user_id, "project_id": "acme-web"}
    response = call("POST", "/api-key", cast.alice_key, body)
    assert (response.status_code, list(response.json()["details"]["fields"])) == (400, ["project_id"])


@pytest.mark.parametrize(
    ("body", "code"),
    [({"user_id": "usr_nobody"}, "NOT_FOUND"), ({"project_id": "nope"}, "PROJECT_NOT_FOUND")],
)
def test_unknown_owners_are_not_found(call, cast, body, code):
    response = call("POST", "/api-key", cast.root_key, {"name": "X"} | body)
    assert (response.status_code, response.json()["error_code"]) == (404, code)


# --- a limited key makes no wider one -----------------------------------------------------------------------


def test_a_test_key_makes_test_keys_only(call, cast):
    assert call("POST", "/api-key", cast.bob_test_key, {"name": "X", "mode": "live"}).status_code == 403
    assert shown(call("POST", "/api-key", cast.bob_test_key, {"name": "X"}))["mode"] == "test"
    assert shown(call("POST", "/api-key", cast.bob_key, {"name": "X", "mode": "test"}))["mode"] == "test"


LIMITED = {
    "allowed_models": (["gpt-4o"], ["gpt-4o"], [[], ["gpt-4o", "dall-e-3"], ["dall-e-3"]]),
    "allowed_services": (["config", "text"], ["text"], [[], ["text", "image"]]),
    "allowed_networks": (["127.0.0.0/8"], ["127.1.0.0/16"], [[], ["0.0.0.0/0"], ["10.0.0.0/8"], ["::/0"]]),
    "rate_limits": ({"rpm": 10}, {"rpm": 10, "tpm": 5}, [{}, {"rpm": 11}, {"tpm": 1}]),
}


@pytest.mark.parametrize("limit", LIMITED)
def test_a_limited_key_makes_no_wider_one(call, cast, limit):
    make_model("gpt-4o")
    make_model("dall-e-3")
    own, narrower, wider = LIMITED[limit]
    key = make_key(cast.bob, **{limit: own})
    for value in wider:
        response = call("POST", "/api-key", key, {"name": "X", limit: value})
        assert (response.status_code, response.json()["error_code"]) == (403, "PERMISSION_DENIED"), value
    assert call("POST", "/api-key", key, {"name": "X"}).status_code == 403
    assert call("POST", "/api-key", key, {"name": "X", limit: narrower}).status_code == 201


def test_a_key_makes_none_that_outlives_it(call, cast):
    soon = timezone.now() + timedelta(hours=1)
    key = make_key(cast.bob, expires_at=soon)
    for expires_at in (None, (soon + timedelta(seconds=1)).isoformat()):
        assert call("POST", "/api-key", key, {"name": "X", "expires_at": expires_at}).status_code == 403
    assert call("POST", "/api-key", key, {"name": "X", "expires_at": soon.isoformat()}).status_code == 201


def test_rotating_a_wider_key_is_making_one(call, cast):
    live = row_of(cast.bob_key).key_id
    assert call("POST", f"/api-key/{live}/rotate", cast.bob_test_key).status_code == 403
    limited = make_key(cast.bob, allowed_services=["config"])
    assert call("POST", f"/api-key/{live}/rotate", limited).status_code == 403
    own = row_of(limited).key_id
    assert shown(call("POST", f"/api-key/{own}/rotate", limited))["allowed_services"] == ["config"]


# --- read ---------------------------------------------------------------------------------------------------


def test_lists_hold_only_what_the_caller_may_see(call, cast):
    def owners(key, path="/api-key"):
        rows = shown(call("GET", path, key))["api_keys"]
        return sorted({row["user_id"] or row["project_id"] for row in rows})

    def ids(*users):
        return sorted([*(user.user_id for user in users), "acme-web"])

    assert owners(cast.root_key) == ids(cast.root, cast.alice, cast.bob, cast.rita, cast.charlie)
    assert owners(cast.alice_key) == ids(cast.alice, cast.bob, cast.rita)
    assert owners(cast.bob_key) == ids(cast.bob)
    assert owners(cast.project_key) == ["acme-web"]
    assert owners(cast.charlie_key) == [cast.charlie.user_id]
    assert owners(cast.alice_key, f"/api-key?user_id={cast.bob.user_id}") == [cast.bob.user_id]
    assert owners(cast.alice_key, "/api-key?project_id=acme-web") == ["acme-web"]
    assert len(shown(call("GET", "/api-key?mode=test", cast.bob_key))["api_keys"]) == 1


def test_pages_are_newest_first(call, cast):
    for number in range(3):
        make_key(cast.rita, name=f"k{number}")
    seen, path = [], "/api-key?limit=2"
    while path:
        data = shown(call("GET", f"{path}&user_id={cast.rita.user_id}", cast.rita_key))
        seen += [row["name"] for row in data["api_keys"]]
        path = f"/api-key?limit=2&after={data['next']}" if data["next"] else None
    assert seen == ["k2", "k1", "k0", "key"]


def test_an_unknown_mode_is_refused_with_those_there_are(call, cast):
    response = call("GET", "/api-key?mode=prod", cast.bob_key)
    assert (response.status_code, response.json()["details"]["allowed"]) == (400, {"mode": ["live", "test"]})


# --- rotate and revoke --------------------------------------------------------------------------------------


def test_after_a_rotation_both_keys_work_until_the_grace_ends(call, cast, audited, settings):
    old = row_of(cast.bob_key)
    response = call("POST", f"/api-key/{old.key_id}/rotate", cast.bob_key, {"grace_seconds": 3600})
    assert response.status_code == 201
    made = shown(response)
    assert KEY.fullmatch(made["api_key"])
    assert made["name"] == old.name
    assert (made["old_key"]["key_id"], made["old_key"]["rotated_to"]) == (old.key_id, made["key_id"])
    assert made["old_key"]["state"] == "grace"
    old.refresh_from_db()
    assert timedelta(seconds=3590) < old.grace_until - timezone.now() <= timedelta(seconds=3600)
    for key in (cast.bob_key, made["api_key"]):
        assert call("GET", "/instance", key).status_code == 200
    (row,) = audited()
    assert (row.action, row.entity_id, row.after["rotated_to_id"]) == ("rotate", old.key_id, made["key_id"])
    assert made["api_key"] not in str([row.before, row.after])
    # A leaked key that only lives on for its grace must not give birth.
    assert call("POST", "/api-key", cast.bob_key, {"name": "X"}).status_code == 403


def test_without_grace_the_old_key_stops_at_once(call, cast):
    assert call("GET", "/instance", cast.bob_key).status_code == 200
    old = row_of(cast.bob_key)
    made = shown(call("POST", f"/api-key/{old.key_id}/rotate", cast.alice_key, {"grace_seconds": 0}))
    assert made["old_key"]["state"] == "expired"
    assert call("GET", "/instance", cast.bob_key).status_code == 401
    assert call("GET", "/instance", made["api_key"]).status_code == 200


def test_the_grace_is_a_day_unless_it_is_said(call, cast):
    old = row_of(cast.bob_key)
    call("POST", f"/api-key/{old.key_id}/rotate", cast.alice_key)
    old.refresh_from_db()
    assert timedelta(hours=23, minutes=59) < old.grace_until - timezone.now() <= timedelta(hours=24)


def test_what_a_key_may_do_survives_its_rotation(call, cast):
    expires_at = timezone.now() + timedelta(days=9)
    limits = {"allowed_models": ["m"], "allowed_services": ["text"], "allowed_networks": ["10.0.0.0/8"]}
    old = row_of(
        make_key(cast.project, is_test=True, rate_limits={"rpm": 3}, expires_at=expires_at, **limits)
    )
    made = shown(call("POST", f"/api-key/{old.key_id}/rotate", cast.alice_key))
    assert made["api_key"].startswith("sk_test_")
    new = row_of(made["api_key"])
    for name in (*limits, "rate_limits", "expires_at", "project_id", "user_id", "mode"):
        assert getattr(new, name) == getattr(old, name), name


def test_only_a_living_key_is_rotated_and_only_once(call, cast, audited):
    revoked = row_of(make_key(cast.bob, revoked_at=yesterday()))
    expired = row_of(make_key(cast.bob, expires_at=yesterday()))
    rotated = row_of(make_key(cast.bob))
    call("POST", f"/api-key/{rotated.key_id}/rotate", cast.bob_key)
    audited()
    for row in (revoked, expired, rotated):
        response = call("POST", f"/api-key/{row.key_id}/rotate", cast.bob_key)
        assert (response.status_code, response.json()["error_code"]) == (409, "CONFLICT")
    assert audited() == []


def test_a_revoked_key_stops_at_once_and_its_row_stays(call, cast, audited):
    assert call("GET", "/instance", cast.bob_key).status_code == 200
    key_id = row_of(cast.bob_key).key_id
    assert shown(call("DELETE", f"/api-key/{key_id}", cast.bob_key)) == {"deleted": True, "key_id": key_id}
    response = call("GET", "/instance", cast.bob_key)
    assert (response.status_code, response.json()["error_code"]) == (401, "UNAUTHENTICATED")
    read = shown(call("GET", f"/api-key/{key_id}", cast.alice_key))
    assert read["state"] == "revoked"
    assert [row.action for row in audited()] == ["revoke"]
    # Again: still revoked when it was, and nothing new to record.
    assert call("DELETE", f"/api-key/{key_id}", cast.alice_key).status_code == 200
    assert shown(call("GET", f"/api-key/{key_id}", cast.alice_key)) == read
    assert audited() == []
