"""Fills the price table from what ships with us: the genai-prices package (text) and our own catalogue (the rest).

Where both price a meter of a model, the catalogue wins. An operator's rows are never touched, and one of theirs keeps
a synced price of the same model, meter, variant, tier and date out.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib.metadata
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from django.db import transaction
from django.utils import timezone

from apps.accounts.audit import SYSTEM, audit_record
from apps.accounts.changes import ALL, change_publish
from apps.config.models import Meter, Price, SeedRecord
from apps.config.prices import OPERATOR, price_names

CATALOGUE = Path(__file__).parent / "data" / "prices.json"
PACKAGE = "genai-prices"
RECORD = "prices"
RULES = "1"  # change it when this file reads its sources differently, so that tables are filled anew

# The package dates only changes; what it does not date holds for as long as we know.
ALWAYS = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)

_PROVIDERS = {"openai": "openai", "anthropic": "anthropic", "google": "gemini"}
_METERS = {
    "input_mtok": Meter.INPUT,
    "cache_read_mtok": Meter.CACHED_INPUT,
    "cache_write_mtok": Meter.CACHE_WRITE,
    "output_mtok": Meter.OUTPUT,
    "input_mchars": Meter.CHARACTER,
}
# Models that charge pictures, video or sound in the answer apart from its text: our token meters would charge them
# as text, and no price is better than a wrong one.
_MIXED = (
    "output_image_mtok",
    "output_video_mtok",
    "output_audio_mtok",
    "input_image_mtok",
    "input_video_mtok",
)

# The catalogue's figures are in USD as makers quote them: tokens per million, characters per thousand, others apiece.
_TO_MILLION = {
    **dict.fromkeys(
        (Meter.INPUT, Meter.CACHED_INPUT, Meter.CACHE_WRITE, Meter.OUTPUT, Meter.REASONING), Decimal(1)
    ),
    Meter.CHARACTER: Decimal(1_000),
    **dict.fromkeys((Meter.IMAGE, Meter.SECOND, Meter.REQUEST), Decimal(1_000_000)),
}
_TIERED = frozenset((Meter.INPUT, Meter.CACHED_INPUT, Meter.CACHE_WRITE, Meter.OUTPUT, Meter.REASONING))


class PriceKey(NamedTuple):
    """What is unique in the price table."""

    provider_id: str
    model: str
    meter: str
    variant: str
    from_input_tokens: int
    valid_from: dt.datetime


class Offer(NamedTuple):
    usd_per_million: Decimal
    source: str


class SyncReport(NamedTuple):
    """How many rows; all 0 when nothing was to be done."""

    created: int = 0
    updated: int = 0
    deleted: int = 0


def prices_sync() -> SyncReport:
    """Bring the synced rows of the price table up to what ships with us; quick when that has not changed."""
    digest = _digest()
    if SeedRecord.objects.filter(name=RECORD, digest=digest).exists():
        return SyncReport()
    offers = _offers()
    with transaction.atomic():
        report = _write(offers)
        SeedRecord.objects.update_or_create(
            name=RECORD, defaults={"digest": digest, "seeded_at": timezone.now()}
        )
        if any(report):
            audit_record(actor=SYSTEM, action="sync", entity="price", entity_id=ALL, after=report._asdict())
            change_publish(kind="price", ref=ALL)
    return report


def _digest() -> str:
    """Of everything the table is made from, without reading the package itself (0.2 s)."""
    parts = (RULES.encode(), importlib.metadata.version(PACKAGE).encode(), CATALOGUE.read_bytes())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _offers() -> dict[PriceKey, Offer]:
    ours = dict(_catalogue_offers())
    priced = {(key.provider_id, key.model, key.meter) for key in ours}
    theirs = {
        key: offer
        for key, offer in _package_offers()
        if (key.provider_id, key.model, key.meter) not in priced
    }
    return theirs | ours


def _write(offers: Mapping[PriceKey, Offer]) -> SyncReport:
    rows = {_key(row): row for row in Price.objects.all()}
    synced = {key: row for key, row in rows.items() if row.source != OPERATOR}
    new = [
        Price(**key._asdict(), usd_per_million=offer.usd_per_million, source=offer.source)
        for key, offer in offers.items()
        if key not in rows
    ]
    changed = []
    for key, row in synced.items():
        offer = offers.get(key)
        if offer is not None and offer != (row.usd_per_million, row.source):
            row.usd_per_million, row.source = offer
            row.updated_at = timezone.now()
            changed.append(row)
    gone = [row.pk for key, row in synced.items() if key not in offers]
    Price.objects.bulk_create(new, batch_size=100)
    Price.objects.bulk_update(changed, ["usd_per_million", "source", "updated_at"], batch_size=100)
    for start in range(0, len(gone), 500):
        Price.objects.filter(pk__in=gone[start : start + 500]).delete()
    return SyncReport(created=len(new), updated=len(changed), deleted=len(gone))


def _key(row: Price) -> PriceKey:
    return PriceKey(row.provider_id, row.model, row.meter, row.variant, row.from_input_tokens, row.valid_from)


# --- our own catalogue ------------------------------------------------------------------------------------------


class CatalogueEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one model costs from a date on.

    prices: meter -> a figure, or figures by the whole input they are charged above (tokens) or by variant (others).
    note: where the figures come from, and what is unsure.
    """

    provider_id: str
    model: str
    valid_from: dt.date
    note: str
    prices: dict[Meter, str | dict[str, str]]


def catalogue_read() -> list[CatalogueEntry]:
    return msgspec.json.decode(CATALOGUE.read_bytes(), type=list[CatalogueEntry])


def _catalogue_offers() -> Iterator[tuple[PriceKey, Offer]]:
    for entry in catalogue_read():
        valid_from = dt.datetime.combine(entry.valid_from, dt.time(), tzinfo=dt.UTC)
        for meter, figures in entry.prices.items():
            for which, figure in ({"": figures} if isinstance(figures, str) else figures).items():
                variant, above = ("", int(which or 0)) if meter in _TIERED else (which, 0)
                key = PriceKey(entry.provider_id, entry.model, meter.value, variant, above, valid_from)
                yield key, Offer(_six_places(Decimal(figure) * _TO_MILLION[meter]), "catalogue")


# --- the package ------------------------------------------------------------------------------------------------


def _package_offers() -> Iterator[tuple[PriceKey, Offer]]:
    from genai_prices import data_snapshot  # 0.2 s and 30 MB, needed only when something changed

    for provider in data_snapshot.get_snapshot().providers:
        provider_id = _PROVIDERS.get(provider.id)
        if provider_id is None:
            continue
        for model in provider.models:
            if provider_id == "gemini" and "claude" in model.id:
                continue  # Google resells Claude, on another API than the one we speak
            dated = list(_dated_prices(model.prices))
            for name in _names(model, provider.models):
                for valid_from, prices in dated:
                    for meter, above, usd in _figures(prices):
                        key = PriceKey(provider_id, name, meter.value, "", above, valid_from)
                        yield key, Offer(_six_places(usd), PACKAGE)


def _dated_prices(prices: Any) -> Iterator[tuple[dt.datetime, Any]]:
    """A model's price lists with their dates; none when they depend on more than a date, or mix text with media."""
    from genai_prices.types import StartDateConstraint

    conditional = prices if isinstance(prices, list) else None
    lists = [entry.prices for entry in conditional] if conditional is not None else [prices]
    if any(getattr(one, name) is not None for one in lists for name in _MIXED):
        return
    if conditional is None:
        yield ALWAYS, prices
        return
    constraints = [entry.constraint for entry in conditional]
    if not all(isinstance(constraint, StartDateConstraint) for constraint in constraints[1:]):
        return
    # The first holds where no later one does, whatever its own condition.
    yield ALWAYS, lists[0]
    for constraint, one in zip(constraints[1:], lists[1:], strict=True):
        yield dt.datetime.combine(constraint.start_date, dt.time(), tzinfo=dt.UTC), one


def _figures(prices: Any) -> Iterator[tuple[Meter, int, Decimal]]:
    """(meter, the whole input it is charged above, USD per million)."""
    for field, meter in _METERS.items():
        price = getattr(prices, field)
        if isinstance(price, Decimal):
            yield meter, 0, price
        elif price is not None:
            yield meter, 0, price.base
            for tier in price.tiers:
                yield meter, tier.start, tier.price


def _names(model: Any, models: Iterable[Any]) -> set[str]:
    """The names a model is listed under: all the package knows, less those that `price_names` leads back to another."""
    known = {
        name
        for name in {model.id, *_literal_names(model.match)}
        if next((entry for entry in models if entry.is_match(name)), None) is model
    }
    return {name for name in known if not known & set(list(price_names(name))[1:])}


def _literal_names(match: Any) -> Iterator[str]:
    """Every name a matcher spells out: the exact ones, and prefixes as base names."""
    if (exact := getattr(match, "equals", None)) is not None:
        yield exact
    elif (prefix := getattr(match, "starts_with", None)) is not None:
        yield prefix.rstrip("-@.")
    else:
        for inner in getattr(match, "or_", None) or getattr(match, "and_", None) or ():
            yield from _literal_names(inner)


def _six_places(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.000001"))
