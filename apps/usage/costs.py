"""What a call cost, in dollars, exactly. Pure: figures in, figures out.

The rules, all in one place:
- A meter that was used and has no price makes the whole cost unknown (None), never a silent 0.
- Cached input and cache writes without a price of their own cost what input costs, reasoning what output costs.
- The tier is chosen by the whole input, cached parts included, and holds for every meter of the call.
- A price per request, where there is one, is added to every answered call; a model priced per request alone costs
  nothing for its tokens.
- No figures from the provider: the cost is unknown when it answered, and exactly 0 when it failed before it answered.

Prices are integers in pico-dollars and so is the sum (see pricebook.py): nothing is rounded on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Context, Decimal

import msgspec

from apps.config.pricebook import PICO, PriceBook, Rate
from apps.providers.types import Usage

# Wide enough for a petadollar in pico-dollars, whatever precision the calling thread has set.
_CONTEXT = Context(prec=40, rounding=ROUND_HALF_EVEN)


class Cost(msgspec.Struct, frozen=True):
    """cost_usd: to 12 places, None when unknown. unit_prices: USD per single unit by meter, what it was made with;
    each meter's own share times its price, summed, gives cost_usd again."""

    cost_usd: Decimal | None
    unit_prices: dict[str, str]


def cost_of(usage: Usage | None, book: PriceBook, *, at: float, is_answered: bool = True) -> Cost:
    """The cost of one call to a text model.

    at: when it was made, Unix seconds. is_answered: whether the provider said anything but an error.
    """
    if usage is None:
        return Cost(None, {}) if is_answered else Cost(_usd(0), {})
    if not book.lists:
        return Cost(None, {})
    whole_input = usage.input_tokens
    total = 0
    unit_prices: dict[str, str] = {}
    for meter, fallback, quantity in _shares(usage) if _has_token_prices(book) else ():
        rate = book.price_at(meter, at, whole_input) or book.price_at(fallback, at, whole_input)
        if rate is None:
            return Cost(None, {})
        total += quantity * rate.pico_usd
        unit_prices[meter] = rate.text
    if is_answered and (per_request := book.price_at("request", at)) is not None:
        total += per_request.pico_usd
        unit_prices["request"] = per_request.text
    return Cost(_usd(total), unit_prices)


def _has_token_prices(book: PriceBook) -> bool:
    return "request" not in book.lists or "input" in book.lists or "output" in book.lists


def _shares(usage: Usage) -> Iterator[tuple[str, str, int]]:
    """Each meter that was used, with the one whose price stands in for its own, and how much of it.

    Parts are cut to their whole, since a provider's figures need not add up: no share is ever negative.
    """
    cached = min(max(usage.cached_input_tokens, 0), max(usage.input_tokens, 0))
    written = min(max(usage.cache_write_tokens, 0), max(usage.input_tokens, 0) - cached)
    plain = usage.input_tokens - cached - written
    reasoning = min(max(usage.reasoning_tokens, 0), max(usage.output_tokens, 0))
    said = usage.output_tokens - reasoning
    if plain > 0:
        yield "input", "input", plain
    if cached:
        yield "cached_input", "input", cached
    if written:
        yield "cache_write", "input", written
    if said > 0:
        yield "output", "output", said
    if reasoning:
        yield "reasoning", "output", reasoning


def cost_of_units(
    meter: str,
    quantity: int | Decimal,
    book: PriceBook,
    *,
    at: float,
    variant: str = "",
    input_tokens: int = 0,
) -> Cost:
    """The cost of pictures, characters, seconds or requests; of a broken quantity (4.2 seconds) right to 12 places."""
    rate: Rate | None = book.price_at(meter, at, input_tokens, variant)
    if rate is None:
        return Cost(None, {})
    if isinstance(quantity, int):
        return Cost(_usd(max(quantity, 0) * rate.pico_usd), {meter: rate.text})
    pico_usd = _CONTEXT.multiply(max(quantity, Decimal(0)), Decimal(rate.pico_usd))
    return Cost(_usd(int(pico_usd.to_integral_value(rounding=ROUND_HALF_EVEN))), {meter: rate.text})


def _usd(pico_usd: int) -> Decimal:
    return _CONTEXT.scaleb(Decimal(pico_usd), -PICO)
