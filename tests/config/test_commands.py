from __future__ import annotations

import io
import json
import sys

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from apps.accounts.audit import SYSTEM
from apps.accounts.keys import key_hash
from apps.accounts.models import ApiKey, AuditEntry, Instance, InstanceAccess, Organization
from apps.accounts.services.instances import instance_create
from apps.config.models import ProviderKey
from apps.config.services.provider_keys import provider_key_set
from apps.core.crypto import SecretUnreadable, decrypt
from tests.factories import make_cast

SECRET = "sk-proj-abcdefghijklmnop1234"
BODY = {
    "instance_id": "initech-main",
    "org_id": "initech",
    "name": "Initech",
    "api_keys": {"openai": "${TEST_OPENAI_KEY}"},
    "rate_limits": {"openai": {"rpm": 500, "tpm": 100000}},
    "r2_bucket": "initech-${TEST_STAGE}",
    "authorized_users": [],
}


@pytest.fixture
def cast(db):
    return make_cast()


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("TEST_OPENAI_KEY", SECRET)
    monkeypatch.setenv("TEST_STAGE", "prod")


@pytest.fixture
def write(tmp_path):
    def write_file(body, name="instance.json"):
        path = tmp_path / name
        path.write_text(body if isinstance(body, str) else json.dumps(body))
        return str(path)

    return write_file


def run(*args):
    """What a command printed."""
    out, err = io.StringIO(), io.StringIO()
    call_command(*args, stdout=out, stderr=err)
    return out.getvalue() + err.getvalue()


def refused(*args):
    """The message a command refused with."""
    with pytest.raises(CommandError) as caught:
        call_command(*args, stdout=io.StringIO(), stderr=io.StringIO())
    return str(caught.value)


# --- deploy_instance ----------------------------------------------------------------------------------------


def test_a_file_becomes_an_instance_with_the_environments_values(write, db):
    said = run("deploy_instance", "--config", write(BODY))
    row = Instance.objects.get(pk="initech-main")
    assert (row.org_id, row.name, row.r2_bucket) == ("initech", "Initech", "initech-prod")
    assert row.rate_limits == BODY["rate_limits"]
    assert decrypt(row.provider_keys.get().api_key_encrypted) == SECRET
    assert "initech-main: created" in said
    assert SECRET not in said
    assert decrypt(row.webhook_secret_encrypted) in said, "shown this once"
    assert {entry.actor_kind for entry in AuditEntry.objects.all()} == {"system"}


def test_deploying_twice_changes_nothing(write, db):
    path = write(BODY)
    run("deploy_instance", "--config", path)
    before = (
        list(AuditEntry.objects.values()),
        list(Instance.objects.values()),
        list(ProviderKey.objects.values()),
    )
    assert run("deploy_instance", "--config", path).strip() == "initech-main: unchanged"
    after = (
        list(AuditEntry.objects.values()),
        list(Instance.objects.values()),
        list(ProviderKey.objects.values()),
    )
    assert after == before


def test_deploying_a_change_updates_only_that(write, db, monkeypatch):
    run("deploy_instance", "--config", write(BODY))
    count = AuditEntry.objects.count()
    monkeypatch.setenv("TEST_OPENAI_KEY", "sk-proj-zyxwvutsrqponm9999")
    said = run("deploy_instance", "--config", write(BODY | {"name": "Initech Inc."}))
    assert "initech-main: updated" in said
    assert '"Initech" -> "Initech Inc."' in said
    assert "sk-…9999" in said
    assert "zyxwvu" not in said
    assert AuditEntry.objects.count() == count + 2


def test_a_dry_run_says_what_would_change_masked_and_changes_nothing(write, db):
    said = run("deploy_instance", "--config", write(BODY), "--dry-run")
    assert "initech-main: would be created" in said
    assert "create instance initech-main" in said
    assert "sk-…1234" in said
    assert SECRET not in said
    assert "whsec_" not in said
    assert not Instance.objects.exists()
    assert not Organization.objects.exists()
    assert not AuditEntry.objects.exists()


def test_a_dry_run_meets_the_refusals_of_the_real_one(write, cast):
    body = {"instance_id": "acme-main", "authorized_users": ["usr_nobody"]}
    for extra in ((), ("--dry-run",)):
        assert "authorized_users.0" in refused("deploy_instance", "--config", write(body), *extra)


def test_every_missing_variable_is_named(write, db, monkeypatch):
    monkeypatch.delenv("TEST_OPENAI_KEY")
    monkeypatch.setenv("TEST_STAGE", "")
    message = refused("deploy_instance", "--config", write(BODY))
    assert "TEST_OPENAI_KEY is not set" in message
    assert "TEST_STAGE is not set" in message
    assert not Instance.objects.exists()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{", "not valid JSON"),
        ("[]", "JSON object"),
        ({}, "instance_id"),
        ({"instance_id": "x"}, "org_id"),
        ({"instance_id": "x", "org_id": "o"}, "name"),
        (BODY | {"instance_id": "a b"}, "instance_id"),
        (BODY | {"zip": 1}, "zip: There is no such field"),
        (BODY | {"rate_limits": {"openai": {"rpm": 0}}}, "rate_limits.openai.rpm"),
        (BODY | {"base_urls": {"openai": "https://x.example/v1"}}, "base_urls.openai"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(write, db, body, says):
    assert says in refused("deploy_instance", "--config", write(body))
    assert not Instance.objects.exists()


def test_an_instance_is_not_moved_to_another_organization(write, cast):
    message = refused("deploy_instance", "--config", write({"instance_id": "acme-main", "org_id": "globex"}))
    assert "org_id" in message


def test_a_file_that_is_not_there_is_one_clear_sentence(db, tmp_path):
    assert "No such file" in refused("deploy_instance", "--config", str(tmp_path / "nope.json"))


# --- update_instance and deploy_all -------------------------------------------------------------------------


def test_update_changes_what_the_file_names(write, cast):
    said = run("update_instance", "--instance-id", "acme-main", "--config", write({"name": "New"}))
    assert "acme-main: updated" in said
    cast.instance.refresh_from_db()
    assert (cast.instance.name, cast.instance.accesses.count()) == ("New", 2)


def test_update_makes_nothing_and_stays_with_its_instance(write, cast):
    args = ("update_instance", "--instance-id", "nope", "--config")
    assert "There is no instance 'nope'" in refused(*args, write({"name": "New", "org_id": "acme"}))
    assert "acme-main" in refused(*args, write({"instance_id": "acme-main", "name": "New"}))
    assert Instance.objects.count() == 2


def test_deploy_all_takes_a_folder_but_no_examples(write, tmp_path, db):
    write(BODY, "a.json")
    write(BODY | {"instance_id": "second"}, "b.json")
    write("{", "example.json")
    said = run("deploy_all", "--dir", str(tmp_path))
    assert "initech-main: created" in said
    assert "second: created" in said


def test_deploy_all_changes_nothing_when_a_file_cannot_be_read(write, tmp_path, db):
    write(BODY, "a.json")
    write({"instance_id": "x", "name": "${TEST_NOT_SET}"}, "b.json")
    write("{", "c.json")
    message = refused("deploy_all", "--dir", str(tmp_path))
    assert "TEST_NOT_SET is not set" in message
    assert "c.json" in message
    assert not Instance.objects.exists()


def test_deploy_all_goes_on_after_a_refusal_and_then_fails(write, tmp_path, db):
    write({"instance_id": "x", "name": "X"}, "a.json")
    write(BODY, "b.json")
    assert refused("deploy_all", "--dir", str(tmp_path)) == "1 of 2 files could not be deployed."
    assert list(Instance.objects.values_list("pk", flat=True)) == ["initech-main"]


def test_deploy_all_refuses_two_files_for_one_instance_and_an_empty_folder(write, tmp_path, db):
    assert "no instance file" in refused("deploy_all", "--dir", str(tmp_path))
    write(BODY, "a.json")
    write(BODY, "b.json")
    assert "initech-main" in refused("deploy_all", "--dir", str(tmp_path))


def test_the_example_can_be_deployed(db, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    assert "production: created" in run("deploy_instance", "--config", "instances/example.json")


# --- delete_instance ----------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_deleting_with_force_asks_nothing(cast):
    said = run("delete_instance", "--instance-id", "acme-main", "--force", "--keep-bucket")
    assert "acme-main: deleted" in said
    assert "Kept" in said
    assert not Instance.objects.filter(pk="acme-main").exists()


def test_without_a_terminal_it_refuses(cast, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("acme-main\n"))
    assert "--force" in refused("delete_instance", "--instance-id", "acme-main")
    assert Instance.objects.filter(pk="acme-main").exists()


@pytest.mark.parametrize(("typed", "is_deleted"), [("acme-main", True), ("y", False), ("", False)])
def test_on_a_terminal_the_id_has_to_be_typed(cast, monkeypatch, typed, is_deleted):
    monkeypatch.setattr(sys, "stdin", Terminal(f"{typed}\n"))
    if is_deleted:
        run("delete_instance", "--instance-id", "acme-main")
    else:
        assert "Nothing was deleted" in refused("delete_instance", "--instance-id", "acme-main")
    assert Instance.objects.filter(pk="acme-main").exists() is not is_deleted


def test_an_unknown_instance_cannot_be_deleted(db):
    assert "nope" in refused("delete_instance", "--instance-id", "nope", "--force")


# --- create_api_key -----------------------------------------------------------------------------------------


def made_key(*args):
    """What goes to standard output: the key and nothing else."""
    out = io.StringIO()
    call_command("create_api_key", *args, stdout=out, stderr=io.StringIO())
    return out.getvalue().strip()


def test_a_key_is_made_and_works(cast, client):
    raw = made_key("--user", "BOB@acme.test", "--name", "CI")
    assert raw.startswith("sk_live_")
    row = ApiKey.objects.get(key_hash=key_hash(raw))
    assert (row.user, row.name, row.mode) == (cast.bob, "CI", "live")
    response = client.get("/config/instance", headers={"Authorization": f"Bearer {raw}"})
    assert response.status_code == 200


def test_a_test_key_is_made(cast):
    assert made_key("--user", "bob@acme.test", "--name", "CI", "--test").startswith("sk_test_")


def test_a_key_for_an_instance_leads_its_calls_there(cast):
    second = Instance.objects.create(instance_id="acme-two", org=cast.acme, name="Two")
    InstanceAccess.objects.create(user=cast.rita, instance=second, permission="admin")
    made_key("--user", "bob@acme.test", "--name", "CI", "--instance", "acme-two")
    cast.bob.refresh_from_db()
    assert cast.bob.default_instance_id == "acme-two"
    granted = dict(second.accesses.values_list("user__email", "permission"))
    assert granted == {"bob@acme.test": "user", "rita@acme.test": "admin"}


def test_what_is_named_must_exist(cast):
    assert "nobody@acme.test" in refused("create_api_key", "--user", "nobody@acme.test", "--name", "CI")
    args = ("create_api_key", "--user", "bob@acme.test", "--name", "CI", "--instance")
    assert "nope" in refused(*args, "nope")
    assert "globex" in refused(*args, "globex-main"), "Bob is not of that organization"
    assert not ApiKey.objects.filter(name="CI").exists()


# --- rotate_secrets -----------------------------------------------------------------------------------------


@pytest.fixture
def secrets(cast, settings):
    """Secrets under an old key; the settings then name a new one first."""
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.DE_ENCRYPTION_KEYS = [old]
    _, webhook_secret = instance_create(actor=SYSTEM, org_id="acme", name="X", instance_id="new")
    provider_key_set(actor=SYSTEM, instance_id="new", provider="openai", api_key=SECRET)
    settings.DE_ENCRYPTION_KEYS = [new, old]
    return webhook_secret, new


def test_after_a_rotation_the_old_key_can_go(secrets, settings):
    webhook_secret, new = secrets
    said = run("rotate_secrets")
    assert "1 provider keys, 1 webhook secrets" in said
    settings.DE_ENCRYPTION_KEYS = [new]
    assert decrypt(ProviderKey.objects.get().api_key_encrypted) == SECRET
    assert decrypt(Instance.objects.get(pk="new").webhook_secret_encrypted) == webhook_secret
    entry = AuditEntry.objects.first()
    assert (entry.action, entry.entity, entry.actor_kind) == ("rotate", "secrets", "system")


def test_secrets_nobody_can_read_are_named_and_left_alone(secrets, settings):
    _, new = secrets
    settings.DE_ENCRYPTION_KEYS = [new]
    before = ProviderKey.objects.get().api_key_encrypted
    message = refused("rotate_secrets")
    assert "openai key of new" in message
    assert "webhook secret of new" in message
    assert ProviderKey.objects.get().api_key_encrypted == before
    with pytest.raises(SecretUnreadable):
        decrypt(before)
