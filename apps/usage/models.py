"""What was used and what it cost."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class LedgerEntry(models.Model):
    """One attempt at one provider. Slim: no bodies, and ids instead of foreign keys, so it outlives what it names.

    input_tokens includes cached and cache-write tokens, output_tokens includes reasoning, as providers.types.Usage.
    unit_prices: USD per single unit by meter, as text, the ones cost_usd was made with. cost_usd null: no price known.
    """

    class Status(models.TextChoices):
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELED = "canceled"  # the client left before the end

    id = models.BigAutoField(primary_key=True)
    created_at = models.DateTimeField(default=timezone.now)
    request_id = models.CharField(max_length=128)
    attempt = models.PositiveSmallIntegerField(default=1)
    job_id = models.CharField(max_length=64, null=True)  # noqa: DJ001  null keeps the partial index empty
    instance_id = models.CharField(max_length=64)
    project_id = models.CharField(max_length=64, blank=True)
    user_id = models.CharField(max_length=64, blank=True)
    key_id = models.CharField(max_length=64, blank=True)
    service = models.CharField(max_length=16)
    model_id = models.CharField(max_length=100)
    provider_id = models.CharField(max_length=64)
    provider_model = models.CharField(max_length=200)
    input_tokens = models.BigIntegerField(default=0)
    cached_input_tokens = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0)
    unit_prices = models.JSONField(default=dict)
    cost_usd = models.DecimalField(max_digits=24, decimal_places=12, null=True)
    status = models.CharField(max_length=16, choices=Status)
    error_code = models.CharField(max_length=32, blank=True)
    latency_ms = models.PositiveIntegerField(default=0)
    ttft_ms = models.PositiveIntegerField(null=True)
    is_stream = models.BooleanField(default=False)
    is_sandbox = models.BooleanField(default=False)
    is_estimated = models.BooleanField(default=False)  # the provider gave no figures; ours by rule

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "ledger entries"
        indexes = (
            models.Index(fields=("instance_id", "-id"), name="ledger_instance"),
            models.Index(fields=("request_id",), name="ledger_request"),
            models.Index(fields=("job_id",), name="ledger_job", condition=models.Q(job_id__isnull=False)),
        )

    def __str__(self) -> str:
        return f"{self.request_id} {self.provider_id} {self.status}"
