"""Tenants in the admin panel: to look at. They are changed through the config service and the command line."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from apps.accounts.models import (
    ApiKey,
    AuditEntry,
    Instance,
    InstanceAccess,
    Organization,
    Project,
    User,
)


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """For superadmins' eyes."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and getattr(request.user, "is_superuser", False))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Organization)
class OrganizationAdmin(ReadOnlyAdmin):
    list_display = ("org_id", "name", "created_at")
    search_fields = ("org_id", "name")


@admin.register(Instance)
class InstanceAdmin(ReadOnlyAdmin):
    list_display = ("instance_id", "name", "org", "default_model_id", "is_active", "updated_at")
    list_filter = ("is_active",)
    search_fields = ("instance_id", "name")
    exclude = ("webhook_secret_encrypted",)


@admin.register(InstanceAccess)
class InstanceAccessAdmin(ReadOnlyAdmin):
    list_display = ("user", "instance", "permission", "created_at")
    list_filter = ("permission",)
    list_select_related = ("user", "instance")


@admin.register(Project)
class ProjectAdmin(ReadOnlyAdmin):
    list_display = ("project_id", "name", "instance", "is_active", "updated_at")
    list_filter = ("is_active",)
    search_fields = ("project_id", "name")


@admin.register(User)
class UserAdmin(ReadOnlyAdmin):
    list_display = ("email", "name", "org", "role", "is_active", "last_login")
    list_filter = ("role", "is_active")
    search_fields = ("user_id", "email", "name")
    exclude = ("password", "groups", "user_permissions", "is_superuser")


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    list_display = (
        "key_id",
        "name",
        "mode",
        "hint",
        "user",
        "project",
        "expires_at",
        "revoked_at",
        "last_used_at",
    )
    list_filter = ("mode",)
    list_select_related = ("user", "project")
    search_fields = ("key_id", "name")
    exclude = ("key_hash",)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor_kind", "actor_id", "action", "entity", "entity_id", "org_id", "request_id")
    list_filter = ("entity", "action")
    search_fields = ("entity_id", "actor_id", "request_id")
