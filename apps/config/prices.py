"""What a model costs: its price book from the price table or from its own row, and the prices clients are shown."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from apps.accounts.changes import Cache
from apps.config.models import Meter, ModelConfig, Price
from apps.config.pricebook import (
    UNKNOWN_BOOK,
    PriceBook,
    PriceLine,
    Source,
    price_book_compile,
)

OPERATOR = "operator"
MILLION = Decimal(1_000_000)

# A model config's `pricing`: key -> the meter it prices and how many units the figure is for.
PRICING_KEYS: Mapping[str, tuple[Meter, int]] = {
    "input_per_million": (Meter.INPUT, 1_000_000),
    "cached_input_per_million": (Meter.CACHED_INPUT, 1_000_000),
    "cache_write_per_million": (Meter.CACHE_WRITE, 1_000_000),
    "output_per_million": (Meter.OUTPUT, 1_000_000),
    "reasoning_per_million": (Meter.REASONING, 1_000_000),
    "per_image": (Meter.IMAGE, 1),
    "per_second": (Meter.SECOND, 1),
    "per_1k_characters": (Meter.CHARACTER, 1_000),
    "per_request": (Meter.REQUEST, 1),
}

# What makers append to a model's name for one release of it: -20241022, @20241022, -2024-08-06, -001, -latest.
_RELEASE = re.compile(r"([-@]20\d{6}|-20\d\d-\d\d-\d\d|-\d{3}|-latest)\Z")


def price_names(model: str) -> Iterator[str]:
    """The names a model's price may stand under, the most exact first: its own, then less its release suffixes."""
    while True:
        yield model
        shorter = _RELEASE.sub("", model)
        if shorter in (model, ""):
            return
        model = shorter


# --- books ----------------------------------------------------------------------------------------------------


def _book_load(key: str) -> PriceBook:
    """key: "provider/model". Never None: that a model has no price is worth remembering too."""
    provider_id, _, model = key.partition("/")
    names = list(price_names(model))
    by_name: dict[str, list[PriceLine]] = {}
    for row in Price.objects.filter(provider_id=provider_id, model__in=names):
        by_name.setdefault(row.model, []).append(
            PriceLine(
                meter=row.meter,
                usd_per_unit=row.usd_per_million / MILLION,
                variant=row.variant,
                from_input_tokens=row.from_input_tokens,
                valid_from=row.valid_from.timestamp(),
                is_operator=row.source == OPERATOR,
            )
        )
    lines = next((by_name[name] for name in names if name in by_name), [])
    return price_book_compile(lines, source="table")


# Derived: the book of a release is made of the rows of its base name.
_books = Cache("price", _book_load, is_derived=True)


def price_book_get(provider_id: str, model: str) -> PriceBook:
    """The price table's book for a provider's own model name; empty when the table does not know it.

    Raises NotInMemory under `memory_only`, as every cache here.
    """
    return _books.get(f"{provider_id}/{model}") or UNKNOWN_BOOK


def price_book_of_pricing(pricing: Mapping[str, Any]) -> PriceBook:
    """The book of a model config's own `pricing`. A figure that is no number of dollars is passed over."""
    lines = [
        PriceLine(meter=meter, usd_per_unit=Decimal(str(figure)) / units)
        for name, (meter, units) in PRICING_KEYS.items()
        if _is_price(figure := pricing.get(name))
    ]
    return price_book_compile(lines, source="operator")


def _is_price(figure: Any) -> bool:
    is_number = isinstance(figure, int | float) and not isinstance(figure, bool)
    return is_number and math.isfinite(figure) and figure >= 0


def price_book_for(*, provider_id: str, model: str, pricing: Mapping[str, Any]) -> PriceBook:
    """What a call to a model config is charged by: its own `pricing` if it has one, else the price table.

    `pricing` replaces the table whole, not meter by meter: whoever writes input 1 and output 2 for a model of their
    own server must not be charged the maker's cached rate or its long-context tiers beside them.
    """
    return price_book_of_pricing(pricing) if pricing else price_book_get(provider_id, model)


# --- for the eye ----------------------------------------------------------------------------------------------


def pricing_display(row: ModelConfig) -> tuple[dict[str, Any], Source]:
    """The prices in force now, in the format of `pricing`, and whose word they are.

    Of tiers the lowest is shown, of pictures and video by variant the cheapest.
    """
    if row.pricing:
        return dict(row.pricing), "operator"
    book = price_book_get(row.provider_id, row.model)
    now = time.time()
    shown: dict[str, Any] = {}
    for name, (meter, units) in PRICING_KEYS.items():
        rates = [book.price_at(meter, now, 0, variant) for variant in book.lists.get(meter, ())]
        if known := [Decimal(rate.text) for rate in rates if rate is not None]:
            shown[name] = float(min(known) * units)
    return shown, "table" if shown else "unknown"
