"""Which rows a caller may read and change in the config service: selectors that refuse.

Another tenant's row is refused (403), an unknown id is not found (404), and lists hold only what may be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network

import msgspec
from django.db.models import Q, QuerySet

from apps.accounts.models import ApiKey, Instance, Organization, Project, User
from apps.accounts.selectors import (
    ADMIN,
    OWNER,
    PERMISSION_LEVELS,
    READONLY,
    Caller,
    instance_for_caller,
)
from apps.core.errors import InstanceNotFound, NotFound, PermissionDenied, ProjectNotFound
from apps.core.fields import is_slug

# --- organizations ------------------------------------------------------------------------------------------


def is_org_admin(caller: Caller, org_id: str | None) -> bool:
    return caller.is_superadmin or (org_id is not None and caller.admin_org_id == org_id)


def superadmin_require(caller: Caller) -> None:
    if not caller.is_superadmin:
        raise PermissionDenied("This needs the role `superadmin`.")


def org_admin_require(caller: Caller, org_id: str | None) -> None:
    if not is_org_admin(caller, org_id):
        raise PermissionDenied("This needs the role `admin` of the organization.")


def org_filter_check(caller: Caller, org_id: str) -> None:
    """Whether `?org_id=` may name this organization. Raises PermissionDenied, NotFound."""
    if caller.is_superadmin:
        if not is_slug(org_id) or not Organization.objects.filter(org_id=org_id).exists():
            raise NotFound(f"There is no organization {org_id!r}.")
    elif caller.user is None or caller.user.org_id != org_id:
        raise PermissionDenied("This key may not see that organization.")


# --- instances ----------------------------------------------------------------------------------------------


def instances_visible(caller: Caller) -> QuerySet[Instance]:
    rows = Instance.objects.all()
    if caller.is_superadmin:
        return rows
    if caller.project is not None:
        return rows.filter(instance_id=caller.project.instance_id)
    if caller.user is None:
        return rows.none()
    granted = Q(accesses__user_id=caller.user.user_id)
    if caller.admin_org_id is not None:
        # A subquery and not a join, which would show an instance once per user of it.
        return rows.filter(Q(org_id=caller.admin_org_id) | Q(pk__in=rows.filter(granted).values("pk")))
    return rows.filter(granted)


def instance_row(caller: Caller, instance_id: str, *, level: int = READONLY) -> Instance:
    """Raises InstanceNotFound, PermissionDenied."""
    row = None
    if is_slug(instance_id):
        instance_for_caller(caller, instance_id, level=level)
        row = Instance.objects.filter(instance_id=instance_id).first()
    if row is None:
        raise InstanceNotFound(f"There is no instance {instance_id!r}.")
    return row


def grants_check(
    caller: Caller, instance: Instance, wanted: Mapping[str, str], current: Mapping[str, str]
) -> None:
    """Nobody gives or takes away a permission above their own. wanted, current: user id -> permission."""
    level = OWNER if is_org_admin(caller, instance.org_id) else 0
    if caller.user is not None:
        level = max(level, caller.user.permissions.get(instance.instance_id, 0))
    for user_id in {**current, **wanted}:
        old, new = current.get(user_id, ""), wanted.get(user_id, "")
        if old != new and max(PERMISSION_LEVELS.get(old, 0), PERMISSION_LEVELS.get(new, 0)) > level:
            raise PermissionDenied(
                f"Changing {user_id!r} on this instance needs a higher permission than yours."
            )


# --- projects -----------------------------------------------------------------------------------------------


def projects_visible(caller: Caller) -> QuerySet[Project]:
    return Project.objects.filter(instance__in=instances_visible(caller).values("pk"))


def project_row(caller: Caller, project_id: str, *, level: int = READONLY) -> Project:
    """Raises ProjectNotFound, PermissionDenied."""
    row = Project.objects.filter(project_id=project_id).first() if is_slug(project_id) else None
    if row is None:
        raise ProjectNotFound(f"There is no project {project_id!r}.")
    instance_row(caller, row.instance_id, level=level)
    return row


# --- users --------------------------------------------------------------------------------------------------


def users_visible(caller: Caller) -> QuerySet[User]:
    if caller.is_superadmin:
        return User.objects.all()
    if caller.admin_org_id is not None:
        return User.objects.filter(org_id=caller.admin_org_id)
    return User.objects.filter(user_id=caller.user.user_id) if caller.user else User.objects.none()


def can_manage_user(caller: Caller, user: User) -> bool:
    """An organization's admin manages everybody in it but superadmins."""
    if caller.is_superadmin:
        return True
    return is_org_admin(caller, user.org_id) and user.role != User.Role.SUPERADMIN


def _user_find(**lookup: str) -> User:
    row = User.objects.filter(**lookup).first()
    if row is None:
        raise NotFound("There is no such user.")
    return row


def user_row(caller: Caller, user_id: str) -> User:
    """To read. Raises NotFound, PermissionDenied."""
    row = _user_find(user_id=user_id if is_slug(user_id) else "")
    if not (is_org_admin(caller, row.org_id) or _is_self(caller, row)):
        raise PermissionDenied("This key may not see that user.")
    return row


def user_row_by_email(caller: Caller, email: str) -> User:
    """As user_row; whoever administers nobody learns nothing of who has an account here."""
    address = email.strip().lower()
    own = User.objects.filter(user_id=caller.user.user_id).first() if caller.user else None
    if own is not None and own.email == address:
        return own
    if not caller.is_superadmin and caller.admin_org_id is None:
        raise PermissionDenied("This key may not look up other users.")
    is_possible = "\x00" not in address and len(address) <= 254
    row = _user_find(email=address if is_possible else "")
    org_admin_require(caller, row.org_id)
    return row


def user_row_to_manage(caller: Caller, user_id: str) -> User:
    """Raises NotFound, PermissionDenied."""
    row = _user_find(user_id=user_id if is_slug(user_id) else "")
    if not can_manage_user(caller, row):
        raise PermissionDenied("This key may not change that user.")
    return row


def _is_self(caller: Caller, user: User) -> bool:
    return caller.user is not None and caller.user.user_id == user.user_id


# --- API keys -----------------------------------------------------------------------------------------------


def api_keys_visible(caller: Caller) -> QuerySet[ApiKey]:
    """One's own, those of users one manages, and those of the projects on instances one may read."""
    if caller.is_superadmin:
        return ApiKey.objects.all()
    wanted = Q(project__in=projects_visible(caller).values("pk"))
    if caller.user is not None:
        wanted |= Q(user__in=users_visible(caller).values("pk"))
    return ApiKey.objects.filter(wanted)


def _api_key_find(key_id: str) -> ApiKey:
    row = ApiKey.objects.filter(key_id=key_id).select_related("user").first() if is_slug(key_id) else None
    if row is None:
        raise NotFound("There is no such API key.")
    return row


def api_key_row(caller: Caller, key_id: str) -> ApiKey:
    """To read. Raises NotFound, PermissionDenied."""
    row = _api_key_find(key_id)
    if not api_keys_visible(caller).filter(pk=row.pk).exists():
        raise PermissionDenied("This key may not see that API key.")
    return row


def api_key_row_to_manage(caller: Caller, key_id: str) -> ApiKey:
    """Raises NotFound, PermissionDenied."""
    row = _api_key_find(key_id)
    if row.user is not None:
        _key_owner_require(caller, row.user)
    else:
        project_row(caller, row.project_id or "", level=ADMIN)
    return row


def api_key_owner(caller: Caller, *, user_id: str | None, project_id: str | None) -> User | Project:
    """Whose a new key will be: the named project's or user's, else the caller's own.

    Raises NotFound, ProjectNotFound, PermissionDenied.
    """
    if project_id is not None:
        return project_row(caller, project_id, level=ADMIN)
    if caller.user is None:
        raise PermissionDenied("A project's key can't change anything.")
    user = _user_find(user_id=user_id or caller.user.user_id)
    _key_owner_require(caller, user)
    return user


def _key_owner_require(caller: Caller, user: User) -> None:
    if not (_is_self(caller, user) or can_manage_user(caller, user)):
        raise PermissionDenied("This key may not manage that user's API keys.")


class KeyPowers(msgspec.Struct, frozen=True, kw_only=True):
    """What a key may do, apart from its owner's rights. Empty collections mean: everything."""

    mode: str
    allowed_models: list[str] = []
    allowed_services: list[str] = []
    allowed_networks: list[str] = []
    rate_limits: Mapping[str, int] = {}
    expires_at: datetime | None = None

    @classmethod
    def of(cls, row: ApiKey) -> KeyPowers:
        return cls(
            mode=row.mode,
            allowed_models=row.allowed_models,
            allowed_services=row.allowed_services,
            allowed_networks=row.allowed_networks,
            rate_limits=row.rate_limits,
            expires_at=row.expires_at,
        )


def key_mint_check(caller: Caller, powers: KeyPowers) -> None:
    """A limited key must not make itself a wider one: whoever finds a test key must not get a live one from it."""
    own = caller.key
    if own is None:
        return
    if own.is_test and powers.mode != ApiKey.Mode.TEST:
        raise PermissionDenied("A test key can only make test keys.")
    for limit, mine, theirs in (
        ("allowed_models", own.allowed_models, powers.allowed_models),
        ("allowed_services", own.allowed_services, powers.allowed_services),
    ):
        if mine and not (theirs and set(theirs) <= mine):
            raise PermissionDenied(f"This key's own {limit} do not cover those of the new one.")
    networks = [ip_network(text) for text in powers.allowed_networks]
    if own.allowed_networks and not (
        networks and all(_is_within(net, own.allowed_networks) for net in networks)
    ):
        raise PermissionDenied("This key's own allowed_networks do not cover those of the new one.")
    if any(powers.rate_limits.get(name, limit + 1) > limit for name, limit in own.rate_limits.items()):
        raise PermissionDenied("This key's own rate_limits are below those of the new one.")
    if own.dies_at is not None and (powers.expires_at is None or powers.expires_at.timestamp() > own.dies_at):
        raise PermissionDenied("This key expires before the new one would.")


def _is_within(network: IPv4Network | IPv6Network, ranges: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    return any(
        network.version == outer.version
        and outer.network_address <= network.network_address  # type: ignore[operator]  # same version
        and network.broadcast_address <= outer.broadcast_address  # type: ignore[operator]  # same version
        for outer in ranges
    )
