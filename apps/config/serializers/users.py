"""Users."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.accounts.models import ApiKey, Permission, User
from apps.config.serializers.common import TIMESTAMPS, PageQuery
from apps.core.fields import ChoiceTextField, EmailTextField, FlagField, InputSerializer, SlugField, TextField


class _UserFields(InputSerializer):
    email = EmailTextField(required=False)
    name = TextField(required=False, allow_blank=True, max_length=200)
    role = ChoiceTextField(required=False, choices=User.Role.choices)
    org_id = SlugField(required=False, allow_null=True, help_text="Null for superadmins only.")
    default_instance_id = SlugField(required=False, allow_null=True)
    is_active = FlagField(required=False)


class UserCreateSerializer(_UserFields):
    email = EmailTextField()
    user_id = SlugField(required=False)
    create_api_key = FlagField(required=False, default=False, help_text="Also make a key, shown once.")
    api_key_mode = ChoiceTextField(required=False, choices=ApiKey.Mode.choices)

    ignored: ClassVar[frozenset[str]] = TIMESTAMPS | {"instances"}


class UserUpdateSerializer(_UserFields):
    ignored: ClassVar[frozenset[str]] = TIMESTAMPS | {"instances"}
    fixed: ClassVar[frozenset[str]] = frozenset(("user_id",))


class OrgQuery(serializers.Serializer[Any]):
    org_id = SlugField(required=False)


class UserQuery(OrgQuery, PageQuery):
    pass


class UserAccessSerializer(serializers.Serializer[Any]):
    instance_id = serializers.CharField()
    permission = serializers.ChoiceField(choices=Permission.choices)


class UserSerializer(serializers.Serializer[User]):
    # Lists fetch with prefetch_related("accesses").

    user_id = serializers.CharField()
    email = serializers.CharField()
    name = serializers.CharField()
    org_id = serializers.CharField(allow_null=True)
    role = serializers.ChoiceField(choices=User.Role.choices)
    default_instance_id = serializers.CharField(allow_null=True)
    is_active = serializers.BooleanField()
    instances = serializers.SerializerMethodField(help_text="Set them in an instance's authorized_users.")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    @extend_schema_field(UserAccessSerializer(many=True))
    def get_instances(self, row: User) -> list[dict[str, str]]:
        accesses = sorted((access.instance_id, access.permission) for access in row.accesses.all())
        return [
            {"instance_id": instance_id, "permission": permission} for instance_id, permission in accesses
        ]


class UserCreatedSerializer(UserSerializer):
    api_key = serializers.CharField(required=False, help_text="With create_api_key; never shown again.")
