"""The model configs a new platform starts with, and how they are kept up to date without undoing anybody's work.

The seeds are data/model_configs.json: models, and the payload mappings several of them share. Seeding is idempotent:

- a seed never seen before becomes a row;
- a row nobody edited follows its seed when that changes;
- a row an operator edited, or made themselves under a seed's id, is left alone;
- a row an operator deleted stays deleted (SeedRecord remembers that it was here).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from django.db import transaction
from django.utils import timezone

from apps.accounts.audit import SYSTEM, audit_record
from apps.accounts.changes import change_publish
from apps.config.models import ModelConfig, SeedRecord

SEEDS = Path(__file__).parent / "data" / "model_configs.json"
WIRE_NAME = "<model>"  # stands in a shared mapping for the model's own name at the provider

# What of a row counts as its content: all that an operator can edit.
CONTENT_FIELDS = (
    *(
        "model_id",
        "provider_id",
        "display_name",
        "description",
        "adapter",
        "model",
        "capabilities",
        "pricing",
    ),
    *("rate_limits", "payload_mapping", "profile", "timeouts", "status"),
)


class Seed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row to be, as the data file writes it.

    capabilities: the true ones. mapping: the name of a shared payload mapping, on which payload_mapping is laid.
    """

    model_id: str
    provider_id: str
    display_name: str
    description: str
    adapter: str
    model: str
    capabilities: list[str]
    mapping: str = ""
    payload_mapping: dict[str, Any] = {}
    profile: dict[str, Any] = {}
    rate_limits: dict[str, int] = {}
    timeouts: dict[str, float] = {}
    status: str = ModelConfig.Status.ACTIVE.value

    @property
    def config_id(self) -> str:
        return f"cfg_{self.provider_id}_{self.model_id}"


class SeedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mappings: dict[str, dict[str, Any]]
    models: list[Seed]


class SeedReport(msgspec.Struct):
    """Model ids by what became of them."""

    created: list[str] = []
    updated: list[str] = []
    unchanged: list[str] = []
    edited: list[str] = []  # an operator's work: left alone
    deleted: list[str] = []  # by an operator: left deleted


def model_configs_seed() -> SeedReport:
    """Make the rows that are missing and update those that fell behind; writes nothing when there are none."""
    seeds = seeds_read()
    report = _seed(seeds, is_dry=True)
    if not (report.created or report.updated):
        return report
    with transaction.atomic():
        return _seed(seeds, is_dry=False)


def seeds_read() -> list[ModelConfig]:
    """The rows the seeds would be, unsaved."""
    file = msgspec.json.decode(SEEDS.read_bytes(), type=SeedFile)
    return [_row(seed, file.mappings) for seed in file.models]


def _row(seed: Seed, mappings: Mapping[str, Mapping[str, Any]]) -> ModelConfig:
    shared = _with_wire_name(mappings[seed.mapping], seed.model) if seed.mapping else {}
    row = ModelConfig(
        config_id=seed.config_id,
        model_id=seed.model_id,
        provider_id=seed.provider_id,
        display_name=seed.display_name,
        description=seed.description,
        adapter=seed.adapter,
        model=seed.model,
        capabilities=dict.fromkeys(seed.capabilities, True),
        payload_mapping=_laid_over(shared, seed.payload_mapping),
        profile=seed.profile,
        rate_limits=seed.rate_limits,
        timeouts=seed.timeouts,
        status=seed.status,
    )
    row.seed_digest = content_digest(row)
    return row


def _with_wire_name(value: Any, model: str) -> Any:
    if isinstance(value, str):
        return value.replace(WIRE_NAME, model)
    if isinstance(value, list):
        return [_with_wire_name(item, model) for item in value]
    if isinstance(value, dict):
        return {key: _with_wire_name(item, model) for key, item in value.items()}
    return value


def _laid_over(base: Any, over: Any) -> Any:
    """Objects merge, anything else replaces."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return base | {key: _laid_over(base.get(key), value) for key, value in over.items()}


def content_digest(row: ModelConfig) -> str:
    """Empty fields are left out, so that a column added later does not make every row look edited."""
    content = {name: value for name in CONTENT_FIELDS if (value := getattr(row, name))}
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


def _seed(seeds: list[ModelConfig], *, is_dry: bool) -> SeedReport:
    report = SeedReport()
    rows = {row.config_id: row for row in ModelConfig.objects.all()}
    taken = {row.model_id for row in rows.values()}
    seen = set(SeedRecord.objects.values_list("name", flat=True))
    for seed in seeds:
        row = rows.get(seed.config_id)
        if row is None and seed.config_id in seen:
            report.deleted.append(seed.model_id)
        elif row is None and seed.model_id not in taken:
            report.created.append(seed.model_id)
            if not is_dry:
                _save(seed, before=None)
        elif row is None or content_digest(row) != row.seed_digest:
            report.edited.append(seed.model_id)
        elif row.seed_digest == seed.seed_digest:
            report.unchanged.append(seed.model_id)
        else:
            report.updated.append(seed.model_id)
            if not is_dry:
                _save(seed, before=row)
    return report


def _save(seed: ModelConfig, *, before: ModelConfig | None) -> None:
    if before is not None:
        seed.created_at = before.created_at
    seed.save(force_insert=before is None)
    SeedRecord.objects.update_or_create(
        name=seed.config_id, defaults={"digest": seed.seed_digest, "seeded_at": timezone.now()}
    )
    audit_record(
        actor=SYSTEM,
        action="create" if before is None else "update",
        entity="model_config",
        entity_id=seed.config_id,
        before=None if before is None else _content(before),
        after=_content(seed),
    )
    change_publish(kind="model_config", ref=seed.model_id)


def _content(row: ModelConfig) -> dict[str, Any]:
    return {name: getattr(row, name) for name in CONTENT_FIELDS}
