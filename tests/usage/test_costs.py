from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from apps.config.pricebook import UNKNOWN_BOOK, PriceBook, PriceLine, price_book_compile
from apps.providers.types import Usage
from apps.usage.costs import cost_of, cost_of_units

NOW = 1_795_000_000.0
MILLION = Decimal(1_000_000)


def book(*, at: float = 0.0, above: int = 0, **usd_per_million: str) -> list[PriceLine]:
    return [
        PriceLine(meter=meter, usd_per_unit=Decimal(usd) / MILLION, from_input_tokens=above, valid_from=at)
        for meter, usd in usd_per_million.items()
    ]


def made(*parts: list[PriceLine]) -> PriceBook:
    return price_book_compile([line for part in parts for line in part], source="table")


GPT = made(book(input="2.5", cached_input="1.25", output="10"))
CLAUDE = made(book(input="3", cached_input="0.3", cache_write="3.75", output="15"))


# --- the sum -------------------------------------------------------------------------------------------------


def test_input_and_output_are_charged_at_their_own_price():
    cost = cost_of(Usage(input_tokens=1_000, output_tokens=200), GPT, at=NOW)
    assert cost.cost_usd == Decimal("0.0045")
    assert cost.unit_prices == {"input": "0.0000025", "output": "0.00001"}


def test_cached_and_written_tokens_are_not_charged_again_as_input():
    usage = Usage(input_tokens=1_000, cached_input_tokens=600, cache_write_tokens=300, output_tokens=10)
    assert cost_of(usage, CLAUDE, at=NOW).cost_usd == (
        100 * Decimal("0.000003")
        + 600 * Decimal("0.0000003")
        + 300 * Decimal("0.00000375")
        + 10 * Decimal("0.000015")
    )


def test_reasoning_is_charged_once_at_its_own_price():
    priced = made(book(input="1", output="10", reasoning="4"))
    usage = Usage(input_tokens=0, output_tokens=100, reasoning_tokens=60)
    assert cost_of(usage, priced, at=NOW).cost_usd == 40 * Decimal("0.00001") + 60 * Decimal("0.000004")


def test_cached_input_without_a_price_costs_what_input_costs():
    usage = Usage(input_tokens=100, cached_input_tokens=90, cache_write_tokens=10)
    cost = cost_of(usage, made(book(input="2", output="1")), at=NOW)
    assert cost.cost_usd == Decimal("0.0002")
    assert cost.unit_prices == {"cached_input": "0.000002", "cache_write": "0.000002"}


def test_reasoning_without_a_price_costs_what_output_costs():
    usage = Usage(output_tokens=100, reasoning_tokens=60)
    assert cost_of(usage, GPT, at=NOW).cost_usd == Decimal("0.001")


def test_parts_that_exceed_their_whole_are_cut_to_it():
    usage = Usage(
        input_tokens=100, cached_input_tokens=80, cache_write_tokens=80, output_tokens=5, reasoning_tokens=9
    )
    exact = 80 * Decimal("0.0000003") + 20 * Decimal("0.00000375") + 5 * Decimal("0.000015")
    assert cost_of(usage, CLAUDE, at=NOW).cost_usd == exact


def test_a_price_per_request_is_added():
    priced = made(book(input="1", output="1", request="5000"))
    assert cost_of(Usage(input_tokens=10), priced, at=NOW).cost_usd == Decimal("0.00501")


def test_a_model_priced_per_request_alone_charges_no_tokens():
    cost = cost_of(Usage(input_tokens=10, output_tokens=5), made(book(request="5000")), at=NOW)
    assert (cost.cost_usd, cost.unit_prices) == (Decimal("0.005"), {"request": "0.005"})


# --- unknown is not free -------------------------------------------------------------------------------------


def test_an_unknown_model_has_an_unknown_cost_even_without_tokens():
    assert cost_of(Usage(input_tokens=1), UNKNOWN_BOOK, at=NOW).cost_usd is None
    assert cost_of(Usage(), UNKNOWN_BOOK, at=NOW).cost_usd is None


def test_one_used_meter_without_a_price_makes_the_whole_cost_unknown():
    cost = cost_of(Usage(input_tokens=10, output_tokens=1), made(book(input="2")), at=NOW)
    assert (cost.cost_usd, cost.unit_prices) == (None, {})


def test_an_unused_meter_needs_no_price():
    assert cost_of(Usage(input_tokens=10), made(book(input="2")), at=NOW).cost_usd == Decimal("0.00002")


def test_a_price_of_zero_is_known():
    assert (
        cost_of(Usage(input_tokens=10, output_tokens=1), made(book(input="0", output="0")), at=NOW).cost_usd
        == 0
    )


def test_an_answer_without_figures_has_an_unknown_cost():
    assert cost_of(None, GPT, at=NOW).cost_usd is None


def test_a_failure_before_any_answer_costs_exactly_nothing():
    cost = cost_of(None, UNKNOWN_BOOK, at=NOW, is_answered=False)
    assert (cost.cost_usd, cost.unit_prices) == (Decimal(0), {})


# --- tiers and dates -----------------------------------------------------------------------------------------

LUNA = made(book(input="0.1", output="0.5"), book(above=272_000, input="0.2", output="0.75"))


def test_a_tier_begins_above_its_threshold():
    assert cost_of(Usage(input_tokens=272_000), LUNA, at=NOW).cost_usd == Decimal("0.0272")
    assert cost_of(Usage(input_tokens=272_001), LUNA, at=NOW).cost_usd == Decimal("0.0544002")


def test_the_whole_input_chooses_the_tier_of_every_meter():
    usage = Usage(input_tokens=300_000, cached_input_tokens=299_000, output_tokens=1_000)
    assert cost_of(usage, LUNA, at=NOW).unit_prices == {
        "input": "0.0000002",
        "cached_input": "0.0000002",
        "output": "0.00000075",
    }


def test_a_price_holds_from_its_date_on():
    dated = made(book(at=NOW, input="2"), book(at=0.0, input="1"))
    assert cost_of(Usage(input_tokens=1), dated, at=NOW - 1).unit_prices == {"input": "0.000001"}
    assert cost_of(Usage(input_tokens=1), dated, at=NOW).unit_prices == {"input": "0.000002"}


def test_before_its_first_date_a_price_is_unknown():
    assert cost_of(Usage(input_tokens=1), made(book(at=NOW, input="2")), at=NOW - 1).cost_usd is None


def test_a_newer_list_ends_the_tiers_of_the_older():
    dated = made(book(input="5"), book(above=200_000, input="10"), book(at=NOW, input="5"))
    assert cost_of(Usage(input_tokens=300_000), dated, at=NOW - 1).unit_prices == {"input": "0.00001"}
    assert cost_of(Usage(input_tokens=300_000), dated, at=NOW).unit_prices == {"input": "0.000005"}


def test_an_operators_price_goes_before_a_newer_synced_one():
    theirs = [
        PriceLine(meter="input", usd_per_unit=Decimal("0.000009"), valid_from=1.0, is_operator=True),
        PriceLine(meter="input", usd_per_unit=Decimal("0.000002"), valid_from=NOW - 1),
    ]
    assert cost_of(Usage(input_tokens=1), made(theirs), at=NOW).unit_prices == {"input": "0.000009"}


# --- pictures, seconds, characters ---------------------------------------------------------------------------


def images(**usd: str) -> PriceBook:
    lines = [
        PriceLine(meter="image", usd_per_unit=Decimal(price), variant=name) for name, price in usd.items()
    ]
    return price_book_compile(lines, source="table")


def test_pictures_are_charged_by_variant():
    priced = images(**{"1024x1024/hd": "0.08", "1024x1024/standard": "0.04"})
    cost = cost_of_units("image", 3, priced, at=NOW, variant="1024x1024/hd")
    assert (cost.cost_usd, cost.unit_prices) == (Decimal("0.24"), {"image": "0.08"})


def test_a_variant_nobody_priced_is_unknown():
    assert cost_of_units("image", 1, images(small="0.01"), at=NOW, variant="large").cost_usd is None
    assert cost_of_units("image", 1, images(small="0.01"), at=NOW).cost_usd is None


def test_the_blank_variant_prices_every_other():
    assert cost_of_units("image", 1, images(**{"": "0.02"}), at=NOW, variant="large").cost_usd == Decimal(
        "0.02"
    )


def test_an_operators_blank_price_goes_before_a_synced_variant():
    lines = [
        PriceLine(meter="image", usd_per_unit=Decimal("0.08"), variant="hd"),
        PriceLine(meter="image", usd_per_unit=Decimal("0.01"), is_operator=True),
    ]
    priced = price_book_compile(lines, source="table")
    assert cost_of_units("image", 1, priced, at=NOW, variant="hd").cost_usd == Decimal("0.01")


def test_broken_seconds_are_right_to_twelve_places():
    priced = price_book_compile([PriceLine(meter="second", usd_per_unit=Decimal("0.4"))], source="table")
    assert cost_of_units("second", Decimal("5.333"), priced, at=NOW).cost_usd == Decimal("2.1332")


# --- properties ----------------------------------------------------------------------------------------------

# As the price table holds them: six decimals per million units.
prices = st.decimals(min_value=0, max_value=10_000, places=6, allow_nan=False, allow_infinity=False)
counts = st.integers(min_value=0, max_value=10**9)
wild_counts = st.integers(min_value=-(10**6), max_value=10**9)


@st.composite
def priced_books(draw):
    figures = {
        name: str(draw(prices)) for name in ("input", "cached_input", "cache_write", "output", "reasoning")
    }
    return made(book(**figures)), {name: Fraction(usd) / 1_000_000 for name, usd in figures.items()}


@given(priced_books(), counts, counts, counts, counts, counts)
def test_the_cost_is_exactly_the_sum_of_its_parts(priced, plain, cached, written, said, reasoning):
    whole = Usage(
        input_tokens=plain + cached + written,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=said + reasoning,
        reasoning_tokens=reasoning,
    )
    made_book, usd = priced
    exact = (
        plain * usd["input"]
        + cached * usd["cached_input"]
        + written * usd["cache_write"]
        + said * usd["output"]
        + reasoning * usd["reasoning"]
    )
    assert Fraction(cost_of(whole, made_book, at=NOW).cost_usd) == exact


@given(priced_books(), counts, counts, counts)
def test_the_noted_unit_prices_give_the_cost_again(priced, plain, cached, said):
    usage = Usage(input_tokens=plain + cached, cached_input_tokens=cached, output_tokens=said)
    cost = cost_of(usage, priced[0], at=NOW)
    used = {"input": plain, "cached_input": cached, "output": said}
    again = sum(Fraction(cost.unit_prices[meter]) * count for meter, count in used.items() if count)
    assert Fraction(cost.cost_usd) == again


@given(priced_books(), wild_counts, wild_counts, wild_counts, wild_counts, wild_counts)
def test_a_cost_is_never_negative_whatever_a_provider_counts(
    priced, tokens, cached, written, output, reasoning
):
    usage = Usage(
        input_tokens=tokens,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=output,
        reasoning_tokens=reasoning,
    )
    assert cost_of(usage, priced[0], at=NOW).cost_usd >= 0


@given(priced_books(), counts, counts)
def test_the_threads_decimal_precision_does_not_matter(priced, tokens, output):
    usage = Usage(input_tokens=tokens, output_tokens=output)
    expected = cost_of(usage, priced[0], at=NOW).cost_usd
    with localcontext() as context:
        context.prec = 3
        assert cost_of(usage, priced[0], at=NOW).cost_usd == expected
