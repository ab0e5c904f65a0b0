"""Model configs in the admin panel, saved by the same service as over HTTP; provider keys and prices to look at."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from apps.accounts.admin import ReadOnlyAdmin
from apps.accounts.audit import Actor
from apps.config.models import ModelConfig, Price, ProviderKey
from apps.config.rules import ADAPTERS
from apps.config.services.model_configs import (
    EDITABLE,
    model_config_clean,
    model_config_create,
    model_config_delete,
    model_config_update,
)
from apps.core.errors import InvalidRequest
from apps.core.requests import request_id_of


class ModelConfigForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    config_id = forms.CharField(required=False, max_length=160, help_text="Left out: cfg_<provider>_<model>.")
    adapter = forms.ChoiceField(
        required=False, choices=[("", "chosen for me"), *((name, name) for name in ADAPTERS)]
    )
    model = forms.CharField(
        required=False, max_length=200, help_text="The provider's name; left out: the model id."
    )

    class Meta:
        model = ModelConfig
        fields = ("config_id", *EDITABLE)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            try:
                model_config_clean(self.changes(cleaned), current=self.saved())
            except InvalidRequest as exc:
                for path, texts in exc.details["fields"].items():
                    name = path.partition(".")[0]
                    self.add_error(name, [f"{path}: {text}" if path != name else text for text in texts])
        return cleaned

    def saved(self) -> ModelConfig | None:
        """The row as it is stored; `self.instance` carries the form's values."""
        return ModelConfig.objects.filter(pk=self.initial.get("config_id", "")).first()

    def changes(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        """cleaned as the service's fields: an empty JSON field is an empty object, an empty choice is no choice."""
        given = {name: cleaned[name] for name in EDITABLE if name in cleaned}
        given |= {name: {} for name, value in given.items() if value is None}
        return {name: value for name, value in given.items() if value != "" or name == "description"}


@admin.register(ModelConfig)
class ModelConfigAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    form = ModelConfigForm
    list_display = ("model_id", "display_name", "provider_id", "adapter", "status", "updated_at")
    list_filter = ("provider_id", "adapter", "status")
    search_fields = ("model_id", "display_name", "model")

    def get_readonly_fields(self, request: HttpRequest, obj: ModelConfig | None = None) -> tuple[str, ...]:
        return ("config_id", "created_at", "updated_at") if obj else ()

    def save_model(self, request: HttpRequest, obj: ModelConfig, form: ModelConfigForm, change: bool) -> None:
        fields, actor = form.changes(form.cleaned_data), actor_of(request)
        if change:
            row = model_config_update(actor=actor, config_id=obj.pk, fields=fields)
        else:
            config_id = form.cleaned_data["config_id"] or None
            row = model_config_create(actor=actor, config_id=config_id, fields=fields)
        obj.__dict__.update(row.__dict__)

    def delete_model(self, request: HttpRequest, obj: ModelConfig) -> None:
        model_config_delete(actor=actor_of(request), config_id=obj.pk)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ModelConfig]) -> None:
        for row in queryset:
            self.delete_model(request, row)


@admin.register(ProviderKey)
class ProviderKeyAdmin(ReadOnlyAdmin):
    list_display = ("instance", "provider", "hint", "updated_at")
    list_filter = ("provider",)
    list_select_related = ("instance",)
    exclude = ("api_key_encrypted",)


@admin.register(Price)
class PriceAdmin(ReadOnlyAdmin):
    list_display = ("provider_id", "model", "meter", "variant", "usd_per_million", "valid_from", "source")
    list_filter = ("provider_id", "meter", "source")
    search_fields = ("model",)


def actor_of(request: HttpRequest) -> Actor:
    """Who is signed in."""
    return Actor(kind="user", id=str(request.user.pk), request_id=request_id_of(request))
