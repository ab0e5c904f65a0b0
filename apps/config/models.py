"""What staff edit live: provider keys of an instance, the models the platform offers, what they cost."""

from __future__ import annotations

from django.core.validators import RegexValidator
from django.db import models

from apps.accounts.models import Instance

model_id_validator = RegexValidator(r"\A[a-z0-9.-]+\Z", "Use lower-case letters, digits, dots and dashes.")


class ProviderKey(models.Model):
    """A tenant's key at one maker, encrypted at rest and write-only. hint: "sk-…a1b2"."""

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="provider_keys")
    provider = models.CharField(max_length=64)
    api_key_encrypted = models.TextField(editable=False)
    hint = models.CharField(max_length=32, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("instance_id", "provider")
        constraints = (
            models.UniqueConstraint(fields=("instance", "provider"), name="provider_key_once_per_instance"),
        )

    def __str__(self) -> str:
        return f"{self.provider} key of {self.instance_id}"


class ModelConfig(models.Model):
    """A model on offer. See docs/adding-a-provider.md for what each JSON field may hold.

    adapter: which code speaks to the provider ("openai", "anthropic", "gemini", or "mapped": payload_mapping alone).
    model: the provider's own name for it. profile: facts an adapter consults. timeouts: seconds by name.
    pricing: USD by meter, overriding the price table; empty: the table decides.
    seed_digest: of the seed last written here; a row whose content no longer matches it was edited by an operator.
    """

    class Status(models.TextChoices):
        ACTIVE = "active"
        BETA = "beta"
        DEPRECATED = "deprecated"

    config_id = models.CharField(primary_key=True, max_length=160)
    model_id = models.CharField(max_length=100, unique=True, validators=[model_id_validator])
    provider_id = models.CharField(max_length=64, db_index=True)
    display_name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    adapter = models.CharField(max_length=32)
    model = models.CharField(max_length=200)
    capabilities = models.JSONField(default=dict)
    pricing = models.JSONField(default=dict, blank=True)
    rate_limits = models.JSONField(default=dict, blank=True)
    payload_mapping = models.JSONField(default=dict, blank=True)
    profile = models.JSONField(default=dict, blank=True)
    timeouts = models.JSONField(default=dict, blank=True)
    status = models.CharField(max_length=16, choices=Status, default=Status.ACTIVE)
    seed_digest = models.CharField(max_length=64, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("provider_id", "display_name", "config_id")
        indexes = (models.Index(fields=("provider_id", "model"), name="model_config_wire_name"),)

    def __str__(self) -> str:
        return self.display_name


class Meter(models.TextChoices):
    """What a price is per. The unit is one token, picture, character, second or request."""

    INPUT = "input"
    CACHED_INPUT = "cached_input"
    CACHE_WRITE = "cache_write"
    OUTPUT = "output"
    REASONING = "reasoning"
    IMAGE = "image"
    CHARACTER = "character"
    SECOND = "second"
    REQUEST = "request"


class Price(models.Model):
    """What one unit of a meter costs at a provider from a date on.

    usd_per_million: per million units, whatever the meter. from_input_tokens: the tier applies to a call whose whole
    input is larger than this. variant: for pictures and video, e.g. "1024x1024/hd"; blank otherwise.
    source: "genai-prices", "catalogue" (our own data file) or "operator"; a sync never touches an operator's rows.
    """

    provider_id = models.CharField(max_length=64)
    model = models.CharField(max_length=200)  # the provider's own name
    meter = models.CharField(max_length=16, choices=Meter)
    variant = models.CharField(max_length=64, blank=True)
    from_input_tokens = models.PositiveIntegerField(default=0)
    valid_from = models.DateTimeField()
    usd_per_million = models.DecimalField(max_digits=20, decimal_places=6)
    source = models.CharField(max_length=32, default="operator")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("provider_id", "model", "meter", "-valid_from")
        constraints = (
            models.UniqueConstraint(
                fields=("provider_id", "model", "meter", "variant", "from_input_tokens", "valid_from"),
                name="price_once_per_date",
            ),
        )

    def __str__(self) -> str:
        return f"{self.provider_id} {self.model} {self.meter} {self.usd_per_million}/M"


class SeedRecord(models.Model):
    """What a start has already seeded, so that a row an operator deleted does not come back.

    name: a model config's id, or "prices". digest: of the seed content last seen.
    """

    name = models.CharField(primary_key=True, max_length=160)
    digest = models.CharField(max_length=64)
    seeded_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
