"""Projects."""

from __future__ import annotations

from typing import ClassVar

from rest_framework import serializers

from apps.accounts.models import Project
from apps.config.serializers.common import TIMESTAMPS, PageQuery
from apps.core.fields import FlagField, InputSerializer, SlugField, TextField


class _ProjectFields(InputSerializer):
    name = TextField(required=False, max_length=200)
    description = TextField(required=False, allow_blank=True, max_length=10_000)
    is_active = FlagField(required=False)

    ignored: ClassVar[frozenset[str]] = TIMESTAMPS


class ProjectCreateSerializer(_ProjectFields):
    instance_id = SlugField(required=False, help_text="Left out: the instance of the request.")
    project_id = SlugField(required=False)
    name = TextField(max_length=200)


class ProjectUpdateSerializer(_ProjectFields):
    fixed: ClassVar[frozenset[str]] = frozenset(("project_id", "instance_id"))


class ProjectQuery(PageQuery):
    instance_id = SlugField(required=False)


class ProjectSerializer(serializers.Serializer[Project]):
    project_id = serializers.CharField()
    instance_id = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    is_active = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
