from __future__ import annotations

from unittest.mock import ANY

from apps.accounts.models import AuditEntry


def entries(response):
    assert response.status_code == 200, response.content
    return response.json()["data"]["entries"]


def test_a_write_is_found_with_who_what_before_and_after(call, cast):
    call("PUT", "/project/acme-web", cast.alice_key, {"name": "New"}, headers={"X-Request-ID": "req-1"})
    assert entries(call("GET", "/audit", cast.alice_key)) == [
        {
            "id": ANY,
            "at": ANY,
            "request_id": "req-1",
            "actor_kind": "user",
            "actor_id": cast.alice.user_id,
            "key_id": ANY,
            "org_id": "acme",
            "instance_id": "acme-main",
            "action": "update",
            "entity": "project",
            "entity_id": "acme-web",
            "before": {"name": "Acme web"},
            "after": {"name": "New"},
        }
    ]


def test_an_org_admin_sees_their_own_organization_only(call, cast):
    call("PUT", "/instance/acme-main", cast.root_key, {"name": "A"})
    call("PUT", "/instance/globex-main", cast.root_key, {"name": "B"})
    call("POST", "/user", cast.root_key, {"email": "new@platform.test", "role": "superadmin"})
    assert [row["entity_id"] for row in entries(call("GET", "/audit", cast.alice_key))] == ["acme-main"]
    assert len(entries(call("GET", "/audit", cast.root_key))) == 3


def test_filters(call, cast):
    call("PUT", "/instance/acme-main", cast.root_key, {"name": "A"})
    call("PUT", "/project/acme-web", cast.alice_key, {"name": "B"})

    def ids(query):
        return [row["entity_id"] for row in entries(call("GET", f"/audit?{query}", cast.root_key))]

    assert ids("entity=project") == ["acme-web"]
    assert ids("entity_id=acme-main") == ["acme-main"]
    assert ids(f"actor_id={cast.alice.user_id}") == ["acme-web"]
    assert ids("entity=project&entity_id=acme-main") == []


def test_an_unknown_entity_is_refused_with_those_there_are(call, cast):
    response = call("GET", "/audit?entity=cat", cast.root_key)
    assert response.status_code == 400
    assert "instance" in response.json()["details"]["allowed"]["entity"]


def test_pages_are_newest_first(call, cast):
    for number in range(5):
        call("PUT", "/instance/acme-main", cast.root_key, {"name": f"n{number}"})
    seen, path = [], "/audit?limit=2"
    while path:
        data = call("GET", path, cast.root_key).json()["data"]
        seen += [row["after"]["name"] for row in data["entries"]]
        path = f"/audit?limit=2&after={data['next']}" if data["next"] else None
    assert seen == ["n4", "n3", "n2", "n1", "n0"]


def test_a_cursor_of_another_organization_is_refused(call, cast):
    call("PUT", "/instance/globex-main", cast.root_key, {"name": "B"})
    response = call("GET", f"/audit?after={AuditEntry.objects.get().id}", cast.alice_key)
    assert response.status_code == 400
