"""What one kind of request needs, worked out once: model, credentials, limits, prices.

A kind is (key, instance, model); its route is kept until any configuration changes anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from django.conf import settings

from apps.accounts.changes import generation, on_any_change
from apps.accounts.selectors import (
    USER,
    Caller,
    InstanceRecord,
    instance_for_caller,
    project_for_caller,
)
from apps.config.pricebook import PriceBook
from apps.config.prices import price_book_for
from apps.config.selectors import ModelRecord, model_choose, model_spec_make
from apps.core.errors import InvalidModelCapability, PermissionDenied
from apps.providers.types import ModelSpec
from apps.usage.limits import LimitPlan, LimitScope

MAX_ROUTES = 20_000


class Route(msgspec.Struct, frozen=True):
    caller: Caller
    instance: InstanceRecord
    record: ModelRecord
    spec: ModelSpec
    plan: LimitPlan
    prices: PriceBook
    project_id: str


class RouteQuery(msgspec.Struct, frozen=True):
    """What of a request chooses its route; None where the request says nothing."""

    service: str
    capability: str
    instance_id: str | None = None
    project_id: str | None = None
    model_id: str | None = None
    model: str | None = None


_routes: dict[tuple[str, str, RouteQuery], Route] = {}
on_any_change(_routes.clear)


def route_get(caller: Caller, query: RouteQuery, *, default_model_id: str) -> Route:
    """The way a request goes. Raises whatever is wrong with it: 403, 404, a missing provider key."""
    key = (caller.key.key_id if caller.key else "", caller.user.user_id if caller.user else "", query)
    route = _routes.get(key)
    if route is not None:
        return route
    before = generation()
    route = _route_make(caller, query, default_model_id)
    if generation() != before:
        return route
    if len(_routes) >= MAX_ROUTES:
        _routes.clear()
    _routes[key] = route
    return route


def _route_make(caller: Caller, query: RouteQuery, default_model_id: str) -> Route:
    caller.require_service(query.service)
    instance = instance_for_caller(caller, _instance_id(caller, query), level=USER)
    if not instance.is_active:
        raise PermissionDenied(f"The instance {instance.instance_id!r} is switched off.")
    project_id = query.project_id or (caller.project.project_id if caller.project else "")
    if project_id:
        project_for_caller(caller, project_id, instance)
    record = model_choose(
        instance, model_id=query.model_id, model=query.model, default_model_id=default_model_id
    )
    caller.require_model(record.model_id)
    if query.capability not in record.capabilities:
        raise InvalidModelCapability(
            f"The model {record.model_id!r} can't do {query.capability}.",
            details={"capabilities": sorted(record.capabilities)},
        )
    return Route(
        caller,
        instance,
        record,
        model_spec_make(record, instance, is_test=caller.is_test),
        LimitPlan(_scopes(caller, instance, record)),
        price_book_for(provider_id=record.provider_id, model=record.model, pricing=record.pricing),
        project_id,
    )


def _instance_id(caller: Caller, query: RouteQuery) -> str:
    """Body or header, else the key's project's, else the user's default, else the platform's."""
    if query.instance_id:
        return query.instance_id
    if caller.project is not None:
        return caller.project.instance_id
    if caller.user is not None and caller.user.default_instance_id:
        return caller.user.default_instance_id
    default: str = settings.DE_DEFAULT_INSTANCE
    return default


def _scopes(caller: Caller, instance: InstanceRecord, record: ModelRecord) -> list[LimitScope]:
    # Sandbox traffic is counted apart: rehearsing must not use up what real requests may use.
    world = "test:" if caller.is_test else ""
    key_limits: Mapping[str, int] = {}
    if caller.key is not None:
        key_limits = {"rpm": settings.DE_KEY_RPM} | dict(caller.key.rate_limits)
    made = [
        LimitScope.make("key", f"key:{caller.key.key_id}", key_limits) if caller.key else None,
        LimitScope.make(
            "provider",
            f"{world}provider:{instance.instance_id}:{record.provider_id}",
            instance.rate_limits.get(record.provider_id) or {},
        ),
        LimitScope.make(
            "model", f"{world}model:{instance.instance_id}:{record.model_id}", record.rate_limits
        ),
    ]
    return [scope for scope in made if scope is not None]
