"""What `GET /usage` takes and answers."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
from django.core import signing
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer

from apps.config.pricebook import decimal_text
from apps.usage.models import LedgerEntry

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
GROUPS = ("model", "provider", "project", "key", "day")

_UNIX_SECONDS = re.compile(r"[0-9]{1,11}(\.[0-9]{1,9})?")
_NOT_A_MOMENT = "Write ISO 8601, such as 2026-11-23T08:00:00Z, or Unix seconds."
_SPACED_OFFSET = re.compile(r" (?=\d\d:?\d\d\Z)")


# --- in -----------------------------------------------------------------------------------------------------


@extend_schema_field(OpenApiTypes.STR)
class MomentField(serializers.Field):  # type: ignore[type-arg]  # not generic at run time
    """ISO 8601 (UTC unless it says otherwise) or Unix seconds."""

    def to_internal_value(self, data: Any) -> dt.datetime:
        text = str(data).strip()
        try:
            if _UNIX_SECONDS.fullmatch(text):
                moment = dt.datetime.fromtimestamp(float(text), tz=dt.UTC)
            else:
                # A "+" that was not percent-encoded arrives as a space.
                moment = dt.datetime.fromisoformat(_SPACED_OFFSET.sub("+", text))
            moment = (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
        except (ValueError, OverflowError, OSError):
            raise serializers.ValidationError(_NOT_A_MOMENT) from None
        if not 1970 <= moment.year < 9999:  # room for arithmetic on either side
            raise serializers.ValidationError(_NOT_A_MOMENT)
        return moment

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field(OpenApiTypes.STR)
class CursorField(serializers.Field):  # type: ignore[type-arg]  # not generic at run time
    """Where the page before ended; signed, so that nobody builds one and relies on it."""

    _signer = signing.Signer(salt="usage.cursor")

    @classmethod
    def write(cls, position: Mapping[str, Any]) -> str:
        return cls._signer.sign_object(dict(position))

    def to_internal_value(self, data: Any) -> Any:
        try:
            return self._signer.unsign_object(str(data))
        except (signing.BadSignature, ValueError):
            raise serializers.ValidationError("Send `next` of the page before, as it is.") from None

    def to_representation(self, value: Any) -> Any:
        return value


class UsageQuerySerializer(serializers.Serializer[Any]):
    request_id = serializers.CharField(required=False, max_length=128)
    job_id = serializers.CharField(required=False, max_length=64)
    instance_id = serializers.CharField(
        required=False, max_length=64, help_text="Left out: every instance this key may read."
    )
    project_id = serializers.CharField(required=False, max_length=64)
    key_id = serializers.CharField(required=False, max_length=64)
    model_id = serializers.CharField(required=False, max_length=200)
    provider_id = serializers.CharField(required=False, max_length=64)
    status = serializers.ChoiceField(required=False, choices=LedgerEntry.Status.values)
    since = MomentField(required=False, help_text="This moment and later: ISO 8601 or Unix seconds.")
    until = MomentField(required=False, help_text="Before this moment: ISO 8601 or Unix seconds.")
    group_by = serializers.ChoiceField(
        required=False,
        choices=GROUPS,
        help_text="Sums instead of rows, one per value, in its order; days newest first.",
    )
    limit = serializers.IntegerField(required=False, default=DEFAULT_LIMIT, min_value=1, max_value=MAX_LIMIT)
    cursor = CursorField(required=False, help_text="`next` of the page before.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        position = attrs.get("cursor")
        if position is not None and (position.get("of") or "") != attrs.get("group_by", ""):
            raise serializers.ValidationError(
                {"cursor": "It belongs to another list: keep group_by as it was."}
            )
        return attrs


# --- out ----------------------------------------------------------------------------------------------------


class ExactJSONRenderer(JSONRenderer):
    """Decimals as JSON numbers with all their digits; REST framework's own makes them text or floats."""

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return msgspec.json.encode(data, enc_hook=str)


def cost_json(cost_usd: Decimal | None) -> msgspec.Raw | None:
    """A plain number without exponent, null when unknown."""
    return None if cost_usd is None else msgspec.Raw(decimal_text(cost_usd).encode())


def ledger_row_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """One ledger row for a client; ids that are blank here are null there."""
    return {
        **row,
        "project_id": row["project_id"] or None,
        "user_id": row["user_id"] or None,
        "key_id": row["key_id"] or None,
        "error_code": row["error_code"] or None,
        "cost_usd": cost_json(row["cost_usd"]),
    }


class LedgerRowSerializer(serializers.Serializer[Any]):
    """One attempt at one provider. It documents a row; ledger_row_json writes it, without a field object per value."""

    request_id = serializers.CharField()
    attempt = serializers.IntegerField(help_text="1, and more after a retry or a fallback.")
    job_id = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    instance_id = serializers.CharField()
    project_id = serializers.CharField(allow_null=True)
    user_id = serializers.CharField(allow_null=True)
    key_id = serializers.CharField(allow_null=True)
    service = serializers.CharField()
    model_id = serializers.CharField()
    provider_id = serializers.CharField()
    provider_model = serializers.CharField(help_text="The provider's own name of the model.")
    input_tokens = serializers.IntegerField(help_text="Cached and cache-write tokens included.")
    cached_input_tokens = serializers.IntegerField()
    cache_write_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField(help_text="Reasoning tokens included.")
    reasoning_tokens = serializers.IntegerField()
    unit_prices = serializers.DictField(
        child=serializers.CharField(),
        help_text="USD per single unit by meter, as text: what cost_usd was made with.",
    )
    cost_usd = serializers.FloatField(
        allow_null=True, help_text="Exact, to 12 decimals; null: no price is known."
    )
    status = serializers.ChoiceField(choices=LedgerEntry.Status.values)
    error_code = serializers.CharField(allow_null=True)
    latency_ms = serializers.IntegerField()
    ttft_ms = serializers.IntegerField(
        allow_null=True, help_text="Until the first token of a streamed answer."
    )
    is_stream = serializers.BooleanField()
    is_sandbox = serializers.BooleanField()
    is_estimated = serializers.BooleanField(help_text="The provider gave no counts; these are ours.")


class UsageSumSerializer(serializers.Serializer[Any]):
    """The sum of one group; of the five names the one asked for with group_by is there."""

    model_id = serializers.CharField(required=False)
    provider_id = serializers.CharField(required=False)
    project_id = serializers.CharField(required=False, allow_null=True)
    key_id = serializers.CharField(required=False, allow_null=True)
    day = serializers.DateField(required=False, help_text="UTC.")
    requests = serializers.IntegerField(
        help_text="Attempts at a provider: a request that fell back counts at each."
    )
    succeeded = serializers.IntegerField()
    failed = serializers.IntegerField()
    canceled = serializers.IntegerField()
    input_tokens = serializers.IntegerField()
    cached_input_tokens = serializers.IntegerField()
    cache_write_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    reasoning_tokens = serializers.IntegerField()
    cost_usd = serializers.FloatField(
        allow_null=True, help_text="Of the priced ones; null: none has a price."
    )
    unpriced = serializers.IntegerField(help_text="How many have no known cost.")
