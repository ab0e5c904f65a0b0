"""What each write tells the other processes, and that it is all or nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.accounts.audit import SYSTEM, Actor
from apps.accounts.models import ApiKey, AuditEntry, ConfigChange, Instance, Organization, User
from apps.accounts.services import api_keys, instances, projects, users
from apps.core.errors import Conflict, InvalidRequest
from tests.factories import make_cast


@pytest.fixture
def cast(db):
    return make_cast()


@pytest.fixture
def told(cast):
    """Call it for the (kind, ref) pairs published since the last call."""
    seen = 0

    def since():
        nonlocal seen
        rows = list(ConfigChange.objects.filter(version__gt=seen).order_by("version"))
        seen = rows[-1].version if rows else seen
        return [(row.kind, row.ref) for row in rows]

    return since


def test_what_an_instances_writes_tell(cast, told):
    row, secret = instances.instance_create(actor=SYSTEM, org_id="acme", name="New", instance_id="new")
    assert secret.startswith("whsec_")
    assert told() == [("instance", "new")]
    one = {cast.bob.user_id: "user"}
    instances.instance_update(actor=SYSTEM, instance_id="new", authorized_users=one)
    assert told() == [("instance", "new"), ("user", cast.bob.user_id)]
    several = {cast.rita.user_id: "user", cast.alice.user_id: "admin"}
    instances.instance_update(actor=SYSTEM, instance_id="new", authorized_users=several)
    assert told() == [("instance", "new"), ("user", "*")]
    instances.instance_update(actor=SYSTEM, instance_id="new", fields={"name": "New"})
    assert told() == [], "nothing changed"
    instances.instance_delete(actor=SYSTEM, instance_id="new")
    assert told() == [
        *(("instance", "new"), ("provider_key", "new"), ("user", "*"), ("project", "*"), ("api_key", "*")),
    ]
    assert row.pk == "new"


def test_what_a_users_writes_tell(cast, told):
    user = users.user_create(actor=SYSTEM, email="new@acme.test", fields={"org_id": "acme"})
    assert told() == [("user", user.user_id)]
    users.user_update(actor=SYSTEM, user_id=user.user_id, fields={"role": "admin"})
    assert told() == [("user", user.user_id)]
    users.user_delete(actor=SYSTEM, user_id=user.user_id)
    assert told() == [("user", user.user_id), ("api_key", "*")]


def test_what_a_projects_writes_tell(cast, told):
    projects.project_create(actor=SYSTEM, instance_id="acme-main", name="New", project_id="new", fields={})
    assert told() == [("project", "new")]
    projects.project_update(actor=SYSTEM, project_id="new", fields={"is_active": False})
    assert told() == [("project", "new")]
    projects.project_delete(actor=SYSTEM, project_id="new")
    assert told() == [("project", "new"), ("api_key", "*")]


def test_what_a_keys_writes_tell(cast, told):
    row, _ = api_keys.api_key_create(actor=SYSTEM, owner=cast.bob, name="New")
    assert told() == [("api_key", row.key_hash)]
    new, _, old = api_keys.api_key_rotate(actor=SYSTEM, key_id=row.key_id, grace=timedelta(hours=1))
    assert told() == [("api_key", old.key_hash), ("api_key", new.key_hash)]
    api_keys.api_key_revoke(actor=SYSTEM, key_id=new.key_id)
    assert told() == [("api_key", new.key_hash)]
    api_keys.api_key_revoke(actor=SYSTEM, key_id=new.key_id)
    assert told() == []


def test_a_write_that_fails_half_way_leaves_no_trace(cast, told, monkeypatch):
    def fail(**kwargs):
        raise RuntimeError("the disk is full")

    for module in (instances, users, projects, api_keys):
        monkeypatch.setattr(module, "change_publish", fail)
    key_id = cast.bob.api_keys.first().key_id
    writes = [
        lambda: instances.instance_create(actor=SYSTEM, org_id="new", name="New", may_create_org=True),
        lambda: instances.instance_update(actor=SYSTEM, instance_id="acme-main", fields={"name": "New"}),
        lambda: instances.instance_delete(actor=SYSTEM, instance_id="acme-main"),
        lambda: users.user_create(actor=SYSTEM, email="new@acme.test", fields={"org_id": "acme"}),
        lambda: users.user_delete(actor=SYSTEM, user_id=cast.bob.user_id),
        lambda: projects.project_create(actor=SYSTEM, instance_id="acme-main", name="New", fields={}),
        lambda: projects.project_delete(actor=SYSTEM, project_id="acme-web"),
        lambda: api_keys.api_key_create(actor=SYSTEM, owner=cast.bob, name="New"),
        lambda: api_keys.api_key_rotate(actor=SYSTEM, key_id=key_id, grace=timedelta(0)),
        lambda: api_keys.api_key_revoke(actor=SYSTEM, key_id=key_id),
    ]
    before = counts()
    for write in writes:
        with pytest.raises(RuntimeError):
            write()
        assert counts() == before
    assert told() == []
    assert not AuditEntry.objects.exists()
    assert not ApiKey.objects.exclude(revoked_at=None).exists()


def counts():
    return [model.objects.count() for model in (Organization, Instance, User, ApiKey)]


def test_every_write_is_put_down_to_its_actor(cast):
    actor = Actor(kind="user", id=cast.alice.user_id, key_id="key_1", request_id="req_1")
    projects.project_update(actor=actor, project_id="acme-web", fields={"name": "New"})
    row = AuditEntry.objects.get()
    assert (row.actor_kind, row.actor_id, row.key_id, row.request_id) == (
        *("user", cast.alice.user_id, "key_1", "req_1"),
    )


def test_a_taken_id_is_said_to_be_taken(cast):
    with pytest.raises(Conflict):
        instances.instance_create(actor=SYSTEM, org_id="acme", name="X", instance_id="globex-main")
    with pytest.raises(Conflict):
        users.user_create(actor=SYSTEM, email="Charlie@Globex.test", fields={"org_id": "acme"})


def test_an_address_given_to_the_service_itself_is_checked_too(cast):
    fields = {"base_urls": {"openai": "https://user:pw@x.example"}}
    with pytest.raises(InvalidRequest) as caught:
        instances.instance_update(actor=SYSTEM, instance_id="acme-main", fields=fields)
    assert list(caught.value.details["fields"]) == ["base_urls.openai"]


def test_a_password_lets_a_user_sign_in_and_is_not_in_the_audit_log(cast):
    user = users.user_create(
        actor=SYSTEM, email="new@acme.test", fields={"org_id": "acme"}, password="correct horse battery"
    )
    assert user.check_password("correct horse battery")
    assert "correct horse" not in str(AuditEntry.objects.values())
    assert user.password not in str(AuditEntry.objects.values())
