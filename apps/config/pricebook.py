"""What one model costs, compiled for the hot path: plain numbers, no rows, no queries.

Prices are kept as whole pico-dollars (1e-12 USD) per unit: the price table has six decimals per million units, so
every price is an integer there, and a cost is a sum of integers, exact without any rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal

import msgspec

PICO = 12  # decimals of a pico-dollar

Source = Literal["operator", "table", "unknown"]


class Rate(msgspec.Struct, frozen=True):
    """The price of one unit. text: the same in USD, as the ledger notes it down."""

    pico_usd: int
    text: str


class PriceList(msgspec.Struct, frozen=True):
    """All tiers of a meter from a date on (Unix seconds), largest first.

    A newer list replaces the older one whole: a tier that is not named again is gone.
    """

    valid_from: float
    tiers: tuple[tuple[int, Rate], ...]


class PriceBook(msgspec.Struct, frozen=True):
    """meter -> variant -> its price lists, in the order in which they are asked."""

    source: Source
    lists: Mapping[str, Mapping[str, tuple[PriceList, ...]]]

    def price_at(self, meter: str, at: float, input_tokens: int = 0, variant: str = "") -> Rate | None:
        """The price of one unit of a meter at a moment (Unix seconds); None when it is not known.

        A variant without a list of its own is priced by the blank one, if there is one.
        """
        by_variant = self.lists.get(meter)
        if by_variant is None:
            return None
        lists = by_variant.get(variant)
        if lists is None:
            lists = by_variant.get("", ())
        for price_list in lists:
            if price_list.valid_from <= at:
                for above, rate in price_list.tiers:
                    if input_tokens > above or not above:
                        return rate
        return None


UNKNOWN_BOOK = PriceBook("unknown", {})


class PriceLine(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the price table, or one figure of an operator's override."""

    meter: str
    usd_per_unit: Decimal
    variant: str = ""
    from_input_tokens: int = 0
    valid_from: float = 0.0
    is_operator: bool = False


def price_book_compile(lines: Iterable[PriceLine], *, source: Source) -> PriceBook:
    """An operator's price, once valid, goes before any synced one, however new or exact that is."""
    dated: dict[str, dict[str, dict[tuple[bool, float], list[tuple[int, Rate]]]]] = {}
    for line in lines:
        by_date = dated.setdefault(line.meter, {}).setdefault(line.variant, {})
        tier = (line.from_input_tokens, rate_of(line.usd_per_unit))
        by_date.setdefault((line.is_operator, line.valid_from), []).append(tier)
    lists = {
        meter: {variant: _lists(by_variant, variant) for variant in by_variant}
        for meter, by_variant in dated.items()
    }
    return PriceBook(source, lists) if lists else UNKNOWN_BOOK


def _lists(
    by_variant: Mapping[str, Mapping[tuple[bool, float], list[tuple[int, Rate]]]], variant: str
) -> tuple[PriceList, ...]:
    """A variant's lists in the order they are asked: the operator's before synced ones, within each its own before
    the blank variant's, the newest first."""
    found = [
        ((is_operator, owner == variant, valid_from), tiers)
        for owner in {variant, ""}
        for (is_operator, valid_from), tiers in by_variant.get(owner, {}).items()
    ]
    found.sort(key=lambda entry: entry[0], reverse=True)
    return tuple(
        PriceList(rank[2], tuple(sorted(tiers, key=lambda tier: tier[0], reverse=True)))
        for rank, tiers in found
    )


def rate_of(usd_per_unit: Decimal) -> Rate:
    pico_usd = int(usd_per_unit.scaleb(PICO).to_integral_value(rounding=ROUND_HALF_EVEN))
    return Rate(pico_usd, decimal_text(usd_of(pico_usd)))


def usd_of(pico_usd: int) -> Decimal:
    return Decimal(pico_usd).scaleb(-PICO)


def decimal_text(value: Decimal) -> str:
    """As short as it is exact, never with an exponent: "0.0000025", "12", "0"."""
    return format(value.normalize(), "f")
