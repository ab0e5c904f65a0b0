from __future__ import annotations

from unittest.mock import ANY

from apps.accounts.models import ApiKey, Instance, Project


def shown(response):
    assert response.status_code in (200, 201), response.content
    return response.json()["data"]


def test_a_project_is_made_on_an_instance(call, cast, audited):
    body = {"instance_id": "acme-main", "name": "New", "description": "For tests", "project_id": "acme-new"}
    response = call("POST", "/project", cast.alice_key, body)
    assert response.status_code == 201
    assert shown(response) == body | {"is_active": True, "created_at": ANY, "updated_at": ANY}
    (row,) = audited()
    assert (row.action, row.entity, row.entity_id) == ("create", "project", "acme-new")
    assert (row.org_id, row.instance_id, row.after["name"]) == ("acme", "acme-main", "New")


def test_without_an_instance_it_is_the_one_of_the_request(call, cast):
    Instance.objects.create(instance_id="acme-two", org=cast.acme, name="Two")
    made = shown(call("POST", "/project", cast.alice_key, {"name": "A"}))
    assert made["instance_id"] == "acme-main"
    assert made["project_id"].startswith("proj_")
    headers = {"X-Instance-ID": "acme-two"}
    made = shown(call("POST", "/project", cast.alice_key, {"name": "B"}, headers=headers))
    assert made["instance_id"] == "acme-two"
    response = call(
        "POST", "/project", cast.alice_key, {"name": "C"}, headers={"X-Instance-ID": "globex-main"}
    )
    assert response.status_code == 403


def test_an_unknown_instance_is_not_found(call, cast):
    response = call("POST", "/project", cast.root_key, {"name": "A", "instance_id": "nope"})
    assert (response.status_code, response.json()["error_code"]) == (404, "INSTANCE_NOT_FOUND")


def test_a_taken_id_is_a_conflict(call, cast, audited):
    body = {"instance_id": "globex-main", "name": "A", "project_id": "acme-web"}
    response = call("POST", "/project", cast.root_key, body)
    assert (response.status_code, response.json()["error_code"]) == (409, "CONFLICT")
    assert audited() == []


def test_lists_hold_only_what_the_caller_may_see(call, cast):
    Project.objects.create(project_id="globex-web", instance=cast.other_instance, name="X")

    def listed(key, path="/project"):
        return [row["project_id"] for row in shown(call("GET", path, key))["projects"]]

    assert listed(cast.root_key) == ["acme-web", "globex-web"]
    assert listed(cast.root_key, "/project?instance_id=globex-main") == ["globex-web"]
    assert listed(cast.charlie_key) == ["globex-web"]
    for key in (cast.alice_key, cast.bob_key, cast.rita_key, cast.project_key):
        assert listed(key) == ["acme-web"]


def test_put_changes_only_the_fields_sent(call, cast, audited):
    before = shown(call("GET", "/project/acme-web", cast.bob_key))
    after = shown(call("PUT", "/project/acme-web", cast.alice_key, {"description": "Shop"}))
    assert {name for name in after if after[name] != before[name]} == {"description", "updated_at"}
    (row,) = audited()
    assert (row.before, row.after) == ({"description": ""}, {"description": "Shop"})
    assert shown(call("PUT", "/project/acme-web", cast.alice_key, after)) == after
    assert audited() == []


def test_a_project_stays_on_its_instance(call, cast):
    response = call("PUT", "/project/acme-web", cast.root_key, {"instance_id": "globex-main"})
    assert (response.status_code, list(response.json()["details"]["fields"])) == (400, ["instance_id"])


def test_a_switched_off_projects_keys_stop_at_once(call, cast):
    assert call("GET", "/instance", cast.project_key).status_code == 200
    shown(call("PUT", "/project/acme-web", cast.alice_key, {"is_active": False}))
    assert call("GET", "/instance", cast.project_key).status_code == 401


def test_deleting_takes_the_projects_keys_at_once(call, cast, audited):
    assert call("GET", "/instance", cast.project_key).status_code == 200
    deleted = shown(call("DELETE", "/project/acme-web", cast.alice_key))
    assert deleted == {"deleted": True, "project_id": "acme-web"}
    assert not ApiKey.objects.filter(project__isnull=False).exists()
    assert call("GET", "/instance", cast.project_key).status_code == 401
    (row,) = audited()
    assert (row.action, row.before["name"], row.after) == ("delete", "Acme web", {})
    assert call("GET", "/project/acme-web", cast.alice_key).status_code == 404
