"""Who is calling, and what they may touch: the reads behind every request, over this process's caches."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from apps.accounts.changes import Cache
from apps.accounts.keys import key_hash
from apps.accounts.models import ApiKey, Instance, Permission, Project, User
from apps.core.errors import InstanceNotFound, PermissionDenied, ProjectNotFound, Unauthenticated

# Weakest first; a permission includes all before it.
PERMISSION_LEVELS = {name: level for level, name in enumerate(Permission.values, start=1)}
READONLY, USER, ADMIN, OWNER = (PERMISSION_LEVELS[name] for name in ("readonly", "user", "admin", "owner"))


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as the hot path needs it. Times are Unix seconds."""

    key_id: str
    is_test: bool
    user_id: str | None
    project_id: str | None
    allowed_models: frozenset[str]
    allowed_services: frozenset[str]
    allowed_networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    rate_limits: Mapping[str, int]
    dies_at: float | None  # the earlier of expiry and the end of a rotation's grace
    is_revoked: bool


class UserRecord(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    org_id: str | None
    role: str
    is_active: bool
    default_instance_id: str | None
    permissions: Mapping[str, int]  # instance id -> level


class InstanceRecord(msgspec.Struct, frozen=True, kw_only=True):
    instance_id: str
    org_id: str
    rate_limits: Mapping[str, Mapping[str, int]]
    base_urls: Mapping[str, str]
    default_model_id: str
    is_active: bool


class ProjectRecord(msgspec.Struct, frozen=True, kw_only=True):
    project_id: str
    instance_id: str
    is_active: bool


def _key_load(hashed: str) -> KeyRecord | None:
    row = ApiKey.objects.filter(key_hash=hashed).first()
    if row is None:
        return None
    ends = [at.timestamp() for at in (row.expires_at, row.grace_until) if at is not None]
    return KeyRecord(
        key_id=row.key_id,
        is_test=row.mode == ApiKey.Mode.TEST,
        user_id=row.user_id,
        project_id=row.project_id,
        allowed_models=frozenset(row.allowed_models),
        allowed_services=frozenset(row.allowed_services),
        allowed_networks=tuple(
            ipaddress.ip_network(network, strict=False) for network in row.allowed_networks
        ),
        rate_limits=row.rate_limits,
        dies_at=min(ends, default=None),
        is_revoked=row.revoked_at is not None,
    )


def _user_load(user_id: str) -> UserRecord | None:
    row = User.objects.filter(user_id=user_id).first()
    if row is None:
        return None
    permissions = dict(row.accesses.values_list("instance_id", "permission"))
    return UserRecord(
        user_id=row.user_id,
        org_id=row.org_id,
        role=row.role,
        is_active=row.is_active,
        default_instance_id=row.default_instance_id,
        permissions={instance_id: PERMISSION_LEVELS[name] for instance_id, name in permissions.items()},
    )


def _instance_load(instance_id: str) -> InstanceRecord | None:
    row = Instance.objects.filter(instance_id=instance_id).first()
    if row is None:
        return None
    return InstanceRecord(
        instance_id=row.instance_id,
        org_id=row.org_id,
        rate_limits=row.rate_limits,
        base_urls=row.base_urls,
        default_model_id=row.default_model_id,
        is_active=row.is_active,
    )


def _project_load(project_id: str) -> ProjectRecord | None:
    row = Project.objects.filter(project_id=project_id).first()
    if row is None:
        return None
    return ProjectRecord(project_id=row.project_id, instance_id=row.instance_id, is_active=row.is_active)


# Kinds as change_publish names them; refs are the keys of these caches.
_keys = Cache("api_key", _key_load, max_items=50_000)
_users = Cache("user", _user_load, max_items=50_000)
_instances = Cache("instance", _instance_load)
_projects = Cache("project", _project_load)


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who sent a request: a user (by key) or a project (by key)."""

    key: KeyRecord | None = None
    user: UserRecord | None = None
    project: ProjectRecord | None = None

    @property
    def is_test(self) -> bool:
        return self.key is not None and self.key.is_test

    @property
    def is_superadmin(self) -> bool:
        return self.user is not None and self.user.role == User.Role.SUPERADMIN

    @property
    def admin_org_id(self) -> str | None:
        """The organization this caller administers, if any."""
        user = self.user
        return user.org_id if user is not None and user.role == User.Role.ADMIN else None

    def level_on(self, instance: InstanceRecord) -> int:
        """This caller's permission level on an instance; 0 means none."""
        if self.project is not None:
            return USER if self.project.instance_id == instance.instance_id else 0
        if self.user is None:
            return 0
        if self.is_superadmin:
            return OWNER
        if self.admin_org_id is not None and self.admin_org_id == instance.org_id:
            return OWNER
        return self.user.permissions.get(instance.instance_id, 0)

    def require_service(self, service: str) -> None:
        if self.key is not None and self.key.allowed_services and service not in self.key.allowed_services:
            raise PermissionDenied(f"This key may not use the {service} service.")

    def require_model(self, model_id: str) -> None:
        if self.key is not None and self.key.allowed_models and model_id not in self.key.allowed_models:
            raise PermissionDenied(f"This key may not use the model {model_id!r}.")


def caller_get(raw_key: str, *, address: str) -> Caller:
    """The caller behind a key. address: the client's, for keys bound to networks.

    Raises Unauthenticated for an unknown, revoked or expired key or a switched-off owner, PermissionDenied for a
    key used from elsewhere.
    """
    key = _keys.get(key_hash(raw_key))
    if key is None:
        raise Unauthenticated("This API key is not known.")
    if key.is_revoked:
        raise Unauthenticated("This API key was revoked.")
    if key.dies_at is not None and key.dies_at <= time.time():
        raise Unauthenticated("This API key has expired.")
    if key.allowed_networks and not _is_in(address, key.allowed_networks):
        raise PermissionDenied("This API key may not be used from this address.")
    user = _users.get(key.user_id) if key.user_id else None
    project = _projects.get(key.project_id) if key.project_id else None
    if not ((user is not None and user.is_active) or (project is not None and project.is_active)):
        raise Unauthenticated("The owner of this API key is switched off.")
    return Caller(key=key, user=user, project=project)


def _is_in(address: str, networks: tuple[Any, ...]) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in networks)


def instance_get(instance_id: str) -> InstanceRecord:
    """Raises InstanceNotFound."""
    instance = _instances.get(instance_id)
    if instance is None:
        raise InstanceNotFound(f"There is no instance {instance_id!r}.")
    return instance


def instance_for_caller(caller: Caller, instance_id: str, *, level: int) -> InstanceRecord:
    """The instance, if the caller may do things of `level` there.

    Raises InstanceNotFound, PermissionDenied.
    """
    instance = instance_get(instance_id)
    actual = caller.level_on(instance)
    if actual == 0:
        raise PermissionDenied(f"This key may not use the instance {instance_id!r}.")
    if actual < level:
        needed = Permission.values[level - 1]
        raise PermissionDenied(f"This needs the permission `{needed}` on the instance {instance_id!r}.")
    return instance


def project_for_caller(caller: Caller, project_id: str, instance: InstanceRecord) -> ProjectRecord:
    """The project, which must belong to the request's instance.

    Raises ProjectNotFound, PermissionDenied (another instance's project, or a project key naming another project).
    """
    project = _projects.get(project_id)
    if project is None:
        raise ProjectNotFound(f"There is no project {project_id!r}.")
    if project.instance_id != instance.instance_id:
        raise PermissionDenied(f"The project {project_id!r} is not on the instance {instance.instance_id!r}.")
    if caller.project is not None and caller.project.project_id != project_id:
        raise PermissionDenied("A project's key can't act for another project.")
    if not project.is_active:
        raise PermissionDenied(f"The project {project_id!r} is switched off.")
    return project
