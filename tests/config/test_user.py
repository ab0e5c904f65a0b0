from __future__ import annotations

import re
from unittest.mock import ANY

import pytest

from apps.accounts.models import ApiKey, InstanceAccess, User
from apps.accounts.selectors import caller_get
from tests.factories import make_key, make_user

KEY = re.compile(r"sk_(live|test)_[0-9a-f]{64}")


def shown(response):
    assert response.status_code in (200, 201), response.content
    return response.json()["data"]


# --- create -------------------------------------------------------------------------------------------------


def test_an_org_admin_makes_a_user_of_their_organization(call, cast, audited):
    made = shown(call("POST", "/user", cast.alice_key, {"email": "New@Acme.test", "name": "New"}))
    assert made == {
        "user_id": ANY,
        "email": "new@acme.test",
        "name": "New",
        "org_id": "acme",
        "role": "user",
        "default_instance_id": None,
        "is_active": True,
        "instances": [],
        "created_at": ANY,
        "updated_at": ANY,
    }
    assert made["user_id"].startswith("usr_")
    assert not User.objects.get(email="new@acme.test").has_usable_password()
    (row,) = audited()
    assert (row.action, row.entity, row.entity_id, row.org_id) == ("create", "user", made["user_id"], "acme")
    assert row.after["email"] == "new@acme.test"
    assert "password" not in row.after


@pytest.mark.parametrize("mode", ["live", "test"])
def test_a_first_key_is_returned_once_and_works(call, cast, audited, mode):
    body = {"email": "new@acme.test", "create_api_key": True, "api_key_mode": mode}
    response = call("POST", "/user", cast.alice_key, body)
    raw = shown(response)["api_key"]
    assert KEY.fullmatch(raw)
    assert raw.startswith(f"sk_{mode}_")
    assert shown(call("GET", f"/user/{shown(response)['user_id']}", raw))["email"] == "new@acme.test"
    assert [(row.action, row.entity) for row in audited()] == [("create", "user"), ("create", "api_key")]
    assert raw not in str([(row.before, row.after) for row in audited()])
    assert raw not in call("GET", "/api-key", cast.alice_key).content.decode()


def test_a_test_key_makes_users_with_test_keys_only(call, cast):
    key = make_key(cast.alice, is_test=True)
    body = {"email": "new@acme.test", "create_api_key": True}
    assert call("POST", "/user", key, body | {"api_key_mode": "live"}).status_code == 403
    assert not User.objects.filter(email="new@acme.test").exists()
    assert shown(call("POST", "/user", key, body))["api_key"].startswith("sk_test_")


def test_a_taken_address_is_a_conflict_whatever_its_case(call, cast, audited):
    for email in ("bob@acme.test", "BOB@ACME.TEST", "charlie@globex.test"):
        response = call("POST", "/user", cast.alice_key, {"email": email})
        assert (response.status_code, response.json()["error_code"]) == (409, "CONFLICT")
    body = {"email": "new@acme.test", "user_id": cast.bob.user_id}
    assert call("POST", "/user", cast.alice_key, body).status_code == 409
    assert audited() == []


def test_an_org_admin_makes_no_superadmins_and_nobody_elsewhere(call, cast):
    for body in ({"role": "superadmin"}, {"org_id": "globex"}, {"org_id": None}, {"org_id": "nope"}):
        response = call("POST", "/user", cast.alice_key, {"email": "new@acme.test"} | body)
        assert response.status_code == 403, body
    assert shown(call("POST", "/user", cast.alice_key, {"email": "new@acme.test", "role": "admin"}))


def test_only_a_superadmin_is_without_an_organization(call, cast):
    body = {"email": "new@platform.test"}
    response = call("POST", "/user", cast.root_key, body)
    assert (response.status_code, list(response.json()["details"]["fields"])) == (400, ["org_id"])
    assert call("POST", "/user", cast.root_key, body | {"org_id": "nope"}).status_code == 404
    assert shown(call("POST", "/user", cast.root_key, body | {"role": "superadmin"}))["org_id"] is None


def test_a_default_instance_is_one_of_the_organization(call, cast):
    body = {"email": "new@acme.test", "default_instance_id": "globex-main"}
    response = call("POST", "/user", cast.alice_key, body)
    assert (response.status_code, list(response.json()["details"]["fields"])) == (
        400,
        ["default_instance_id"],
    )
    response = call("POST", "/user", cast.alice_key, body | {"default_instance_id": "nope"})
    assert (response.status_code, response.json()["error_code"]) == (404, "INSTANCE_NOT_FOUND")


# --- read ---------------------------------------------------------------------------------------------------


def test_a_user_reads_themself_and_nobody_else(call, cast):
    me = shown(call("GET", f"/user/{cast.bob.user_id}", cast.bob_key))
    assert me["instances"] == [{"instance_id": "acme-main", "permission": "user"}]
    assert shown(call("GET", "/user/email/BOB@acme.test", cast.bob_key)) == me
    assert [row["email"] for row in shown(call("GET", "/user", cast.bob_key))["users"]] == ["bob@acme.test"]
    assert call("GET", f"/user/{cast.rita.user_id}", cast.bob_key).status_code == 403
    assert shown(call("GET", "/user", cast.project_key)) == {"users": [], "total": 0, "next": None}


def test_who_administers_nobody_learns_no_addresses(call, cast):
    answers = {
        call("GET", f"/user/email/{email}", cast.bob_key).json()["error"]
        for email in ("rita@acme.test", "charlie@globex.test", "nobody@nowhere.test")
    }
    assert len(answers) == 1


def test_lists_end_at_the_organization(call, cast):
    def emails(key, path="/user"):
        return [row["email"].split("@")[0] for row in shown(call("GET", path, key))["users"]]

    assert emails(cast.alice_key) == ["alice", "bob", "rita"]
    assert emails(cast.root_key) == ["alice", "bob", "charlie", "rita", "root"]
    assert emails(cast.root_key, "/user?org_id=globex") == ["charlie"]
    assert call("GET", "/user?org_id=globex", cast.alice_key).status_code == 403


def test_pages_are_in_the_order_of_addresses(call, cast):
    first = shown(call("GET", "/user?limit=2", cast.root_key))
    second = shown(call("GET", f"/user?limit=2&after={first['next']}", cast.root_key))
    assert [row["email"].split("@")[0] for row in first["users"] + second["users"]] == [
        *("alice", "bob", "charlie", "rita"),
    ]
    # A cursor from rows one may not see says nothing about them.
    assert call("GET", f"/user?after={cast.charlie.user_id}", cast.alice_key).status_code == 400


def test_an_address_is_looked_up_in_the_named_organization(call, cast):
    assert shown(call("GET", "/user/email/charlie@globex.test?org_id=globex", cast.root_key))
    assert call("GET", "/user/email/charlie@globex.test?org_id=acme", cast.root_key).status_code == 404
    assert call("GET", "/user/email/charlie@globex.test", cast.alice_key).status_code == 403
    assert call("GET", "/user/email/bob@acme.test?org_id=globex", cast.alice_key).status_code == 403
    assert call("GET", "/user/email/nobody@acme.test", cast.alice_key).status_code == 404


# --- update -------------------------------------------------------------------------------------------------


def test_put_changes_only_the_fields_sent(call, cast, audited):
    path = f"/user/{cast.bob.user_id}"
    before = shown(call("GET", path, cast.alice_key))
    after = shown(call("PUT", path, cast.alice_key, {"name": "Robert"}))
    assert {name for name in after if after[name] != before[name]} == {"name", "updated_at"}
    (row,) = audited()
    assert (row.before, row.after) == ({"name": ""}, {"name": "Robert"})
    assert shown(call("PUT", path, cast.alice_key, after)) == after
    assert audited() == []


def test_an_address_taken_by_another_is_a_conflict(call, cast):
    response = call("PUT", f"/user/{cast.bob.user_id}", cast.alice_key, {"email": "RITA@acme.test"})
    assert response.status_code == 409


def test_org_admins_neither_make_superadmins_nor_move_users(call, cast):
    path = f"/user/{cast.bob.user_id}"
    for body in ({"role": "superadmin"}, {"org_id": "globex"}, {"org_id": None}):
        assert call("PUT", path, cast.alice_key, body).status_code == 403
    assert shown(call("PUT", path, cast.alice_key, {"role": "admin", "org_id": "acme"}))["role"] == "admin"


def test_org_admins_touch_no_superadmin_even_of_their_organization(call, cast):
    boss = make_user("boss@acme.test", org=cast.acme, role="superadmin")
    boss_key = ApiKey.objects.get(pk=caller_get(make_key(boss), address="").key.key_id)
    attempts = [
        call("PUT", f"/user/{boss.user_id}", cast.alice_key, {"is_active": False}),
        call("DELETE", f"/user/{boss.user_id}", cast.alice_key),
        call("POST", "/api-key", cast.alice_key, {"name": "mine now", "user_id": boss.user_id}),
        call("POST", f"/api-key/{boss_key.key_id}/rotate", cast.alice_key),
        call("DELETE", f"/api-key/{boss_key.key_id}", cast.alice_key),
    ]
    assert [response.status_code for response in attempts] == [403] * 5
    assert shown(call("GET", f"/user/{boss.user_id}", cast.alice_key))["role"] == "superadmin"


def test_moving_to_another_organization_ends_the_accesses_in_the_old_one(call, cast, audited):
    moved = shown(call("PUT", f"/user/{cast.bob.user_id}", cast.root_key, {"org_id": "globex"}))
    assert (moved["org_id"], moved["instances"], moved["default_instance_id"]) == ("globex", [], None)
    assert not InstanceAccess.objects.filter(user=cast.bob).exists()
    assert call("GET", "/instance/acme-main", cast.bob_key).status_code == 403
    (row,) = audited()
    assert row.before["instances"] == {"acme-main": "user"}


def test_nobody_takes_away_their_own_rights(call, cast, audited):
    for user, key in ((cast.alice, cast.alice_key), (cast.root, cast.root_key)):
        path = f"/user/{user.user_id}"
        for body in ({"role": "user", "org_id": "acme"}, {"is_active": False}):
            assert call("PUT", path, key, body).status_code in (403, 409)
        assert call("DELETE", path, key).status_code == 409
    assert audited() == []


def test_a_switched_off_user_is_out_at_once(call, cast):
    assert call("GET", "/instance", cast.bob_key).status_code == 200
    shown(call("PUT", f"/user/{cast.bob.user_id}", cast.alice_key, {"is_active": False}))
    assert call("GET", "/instance", cast.bob_key).status_code == 401


# --- delete -------------------------------------------------------------------------------------------------


def test_a_deleted_user_is_out_at_once_and_so_are_their_keys(call, cast, audited):
    assert call("GET", "/instance", cast.bob_key).status_code == 200
    path = f"/user/{cast.bob.user_id}"
    assert shown(call("DELETE", path, cast.alice_key)) == {"deleted": True, "user_id": cast.bob.user_id}
    assert not ApiKey.objects.filter(user=cast.bob).exists()
    assert call("GET", "/instance", cast.bob_key).status_code == 401
    assert call("DELETE", path, cast.alice_key).status_code == 404
    (row,) = audited()
    assert (row.action, row.before["email"], row.after) == ("delete", "bob@acme.test", {})
