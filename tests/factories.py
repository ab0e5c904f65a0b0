"""Explicit factories: Alice administers Acme, Bob is a user on Acme's instance, Charlie belongs to Globex.

Charlie may see nothing of Acme's; Root runs the platform.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone

from apps.accounts.keys import key_generate
from apps.accounts.models import ApiKey, Instance, InstanceAccess, Organization, Project, User


@dataclass
class Cast:
    """Everybody a tenancy test needs, with a raw key each."""

    acme: Organization
    globex: Organization
    instance: Instance  # Acme's
    other_instance: Instance  # Globex's
    project: Project  # on Acme's instance
    root: User
    alice: User
    bob: User
    rita: User  # readonly on Acme's instance
    charlie: User
    root_key: str
    alice_key: str
    bob_key: str
    rita_key: str
    charlie_key: str
    project_key: str
    bob_test_key: str


def make_key(owner: User | Project, *, name: str = "key", is_test: bool = False, **fields: Any) -> str:
    """A raw key; its row is saved."""
    made = key_generate(is_test=is_test)
    owned_by = {"user": owner} if isinstance(owner, User) else {"project": owner}
    mode = ApiKey.Mode.TEST if is_test else ApiKey.Mode.LIVE
    ApiKey.objects.create(name=name, mode=mode, key_hash=made.key_hash, hint=made.hint, **owned_by, **fields)
    return made.raw


def make_user(email: str, *, org: Organization | None, role: str = "user", **fields: Any) -> User:
    return User.objects.create_user(email, org=org, role=role, **fields)


def make_cast() -> Cast:
    acme = Organization.objects.create(org_id="acme", name="Acme")
    globex = Organization.objects.create(org_id="globex", name="Globex")
    instance = Instance.objects.create(instance_id="acme-main", org=acme, name="Acme main")
    other = Instance.objects.create(instance_id="globex-main", org=globex, name="Globex main")
    project = Project.objects.create(project_id="acme-web", instance=instance, name="Acme web")
    root = make_user("root@platform.test", org=None, role="superadmin", default_instance=instance)
    alice = make_user("alice@acme.test", org=acme, role="admin", default_instance=instance)
    bob = make_user("bob@acme.test", org=acme, default_instance=instance)
    rita = make_user("rita@acme.test", org=acme, default_instance=instance)
    charlie = make_user("charlie@globex.test", org=globex, default_instance=other)
    InstanceAccess.objects.create(user=bob, instance=instance, permission="user")
    InstanceAccess.objects.create(user=rita, instance=instance, permission="readonly")
    InstanceAccess.objects.create(user=charlie, instance=other, permission="owner")
    return Cast(
        acme=acme,
        globex=globex,
        instance=instance,
        other_instance=other,
        project=project,
        root=root,
        alice=alice,
        bob=bob,
        rita=rita,
        charlie=charlie,
        root_key=make_key(root),
        alice_key=make_key(alice),
        bob_key=make_key(bob),
        rita_key=make_key(rita),
        charlie_key=make_key(charlie),
        project_key=make_key(project),
        bob_test_key=make_key(bob, is_test=True),
    )


def yesterday() -> Any:
    return timezone.now() - timedelta(days=1)
