"""Parts that several entities' bodies share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import inline_serializer
from rest_framework import serializers

from apps.accounts.rules import LIMIT_NAMES
from apps.core.drf import MAX_PAGE
from apps.core.fields import MAX_WHOLE_NUMBER, SlugField

# Names that come with every entity we show and that a client may send back with it.
TIMESTAMPS = frozenset(("created_at", "updated_at"))

RATE_LIMITS_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        name: {"type": "integer", "minimum": 1, "maximum": MAX_WHOLE_NUMBER} for name in LIMIT_NAMES
    },
    "additionalProperties": False,
}


class PageQuery(serializers.Serializer[Any]):
    limit = serializers.IntegerField(required=False, default=MAX_PAGE, min_value=1, max_value=MAX_PAGE)
    after = SlugField(required=False, help_text="`next` of the page before.")


def listed(name: str, key: str, item: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    """A page of a list, as ConfigView.page answers it."""
    return inline_serializer(
        name,
        {
            key: item(many=True),
            "total": serializers.IntegerField(help_text="Rows on all pages."),
            "next": serializers.CharField(
                allow_null=True, help_text="Send it as `after` for the next page; null: this is the last."
            ),
        },
    )


def deleted(name: str, *ids: str) -> serializers.Serializer[Any]:
    fields: dict[str, serializers.Field[Any, Any, Any, Any]] = {"deleted": serializers.BooleanField()}
    return inline_serializer(name, fields | {id_name: serializers.CharField() for id_name in ids})
