"""Who may use what: organizations, users, instances, projects and API keys; the audit log; the change feed."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from apps.core.ids import prefixed_id

slug_validator = RegexValidator(
    r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z",
    "Use 1 to 64 letters, digits, dots, dashes and underscores, starting with a letter or a digit.",
)


class Organization(models.Model):
    org_id = models.CharField(primary_key=True, max_length=64, validators=[slug_validator])
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("org_id",)

    def __str__(self) -> str:
        return self.name


class Instance(models.Model):
    """A tenant's workspace: provider keys, limits, storage and projects hang on it.

    rate_limits: {provider: {"rpm", "rph", "rpd", "tpm", "concurrent_requests"}}; base_urls: {provider: origin}.
    """

    instance_id = models.CharField(
        primary_key=True, max_length=64, validators=[slug_validator], default=partial(prefixed_id, "inst")
    )
    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="instances")
    name = models.CharField(max_length=200)
    rate_limits = models.JSONField(default=dict, blank=True)
    base_urls = models.JSONField(default=dict, blank=True)
    default_model_id = models.CharField(max_length=100, blank=True)
    r2_bucket = models.CharField(max_length=255, blank=True)
    webhook_secret_encrypted = models.TextField(blank=True, editable=False)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("instance_id",)

    def __str__(self) -> str:
        return self.name


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)  # None makes it unusable
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, role=User.Role.SUPERADMIN, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """A person. Django's own is_staff and is_superuser follow from `role`, so there is one truth."""

    class Role(models.TextChoices):
        USER = "user"
        ADMIN = "admin"  # of the organization
        SUPERADMIN = "superadmin"

    user_id = models.CharField(
        primary_key=True, max_length=64, validators=[slug_validator], default=partial(prefixed_id, "usr")
    )
    email = models.EmailField(unique=True)  # kept in lower case
    name = models.CharField(max_length=200, blank=True)
    org = models.ForeignKey(
        Organization, null=True, blank=True, on_delete=models.CASCADE, related_name="users"
    )
    role = models.CharField(max_length=16, choices=Role, default=Role.USER)
    default_instance = models.ForeignKey(
        Instance, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ("email",)

    def __str__(self) -> str:
        return self.email

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.email = self.email.lower()
        # PermissionsMixin keeps is_superuser as a column; it is derived here and nowhere else.
        self.is_superuser = self.role == self.Role.SUPERADMIN
        super().save(*args, **kwargs)

    @property
    def is_staff(self) -> bool:
        """May sign in to the admin panel."""
        return self.role in (self.Role.ADMIN, self.Role.SUPERADMIN)


class Permission(models.TextChoices):
    """What a user may do on one instance, weakest first."""

    READONLY = "readonly"
    USER = "user"
    ADMIN = "admin"
    OWNER = "owner"


class InstanceAccess(models.Model):
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="accesses")
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="accesses")
    permission = models.CharField(max_length=16, choices=Permission, default=Permission.USER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("user", "instance"), name="access_once_per_user"),)

    def __str__(self) -> str:
        return f"{self.user_id} {self.permission} on {self.instance_id}"


class Project(models.Model):
    project_id = models.CharField(
        primary_key=True, max_length=64, validators=[slug_validator], default=partial(prefixed_id, "proj")
    )
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="projects")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("project_id",)

    def __str__(self) -> str:
        return self.name


class ApiKey(models.Model):
    """A key of one user or one project. Only the SHA-256 of the key is here.

    Empty lists allow everything. allowed_networks: CIDR ranges of the caller's address. rate_limits as Instance's,
    without the provider level. After a rotation the old row carries `grace_until` and works until then.
    """

    class Mode(models.TextChoices):
        LIVE = "live"
        TEST = "test"  # reaches the sandbox and nothing else

    key_id = models.CharField(
        primary_key=True, max_length=64, validators=[slug_validator], default=partial(prefixed_id, "key")
    )
    name = models.CharField(max_length=200)
    mode = models.CharField(max_length=8, choices=Mode, default=Mode.LIVE)
    key_hash = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=32, editable=False)  # "sk_live_…a1b2"
    user = models.ForeignKey(User, null=True, blank=True, on_delete=models.CASCADE, related_name="api_keys")
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.CASCADE, related_name="api_keys"
    )
    allowed_models = models.JSONField(default=list, blank=True)
    allowed_services = models.JSONField(default=list, blank=True)
    allowed_networks = models.JSONField(default=list, blank=True)
    rate_limits = models.JSONField(default=dict, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    grace_until = models.DateTimeField(null=True, blank=True)
    rotated_to = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_by = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("-created_at", "key_id")
        constraints = (
            models.CheckConstraint(
                condition=models.Q(user__isnull=True) ^ models.Q(project__isnull=True),
                name="key_of_one_user_or_project",
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.hint})"


class AuditEntry(models.Model):
    """One write: who did what to which entity; before and after hold the changed fields, secrets left out."""

    at = models.DateTimeField(default=timezone.now, db_index=True)
    request_id = models.CharField(max_length=128, blank=True)
    actor_kind = models.CharField(max_length=16)  # "user", "project" or "system" (a management command)
    actor_id = models.CharField(max_length=64, blank=True)
    key_id = models.CharField(max_length=64, blank=True)
    org_id = models.CharField(max_length=64, blank=True)  # whose entity it is; blank: the platform's
    instance_id = models.CharField(max_length=64, blank=True)
    action = models.CharField(max_length=32)  # "create", "update", "delete", "rotate", "revoke"
    entity = models.CharField(max_length=32)  # "instance", "api_key", …
    entity_id = models.CharField(max_length=160)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "audit entries"
        indexes = (models.Index(fields=("entity", "entity_id"), name="audit_entity"),)

    def __str__(self) -> str:
        return f"{self.actor_id} {self.action} {self.entity} {self.entity_id}"


class ConfigVersion(models.Model):
    """One row, locked by every configuration write: it puts changes in commit order (see changes.py)."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    version = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.version)


class ConfigChange(models.Model):
    """What changed at a version: processes drop just that from their memory. ref "*" means all of the kind."""

    version = models.BigIntegerField(primary_key=True)
    kind = models.CharField(max_length=32)
    ref = models.CharField(max_length=128)

    def __str__(self) -> str:
        return f"{self.version}: {self.kind} {self.ref}"
