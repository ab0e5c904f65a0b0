from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.accounts.changes import caches_clear, change_publish, memory_only
from apps.accounts.models import AuditEntry, ConfigChange
from apps.config import price_sync
from apps.config.models import Meter, ModelConfig, Price, SeedRecord
from apps.config.price_sync import catalogue_read, prices_sync
from apps.config.prices import price_book_for, price_book_get, price_names, pricing_display
from apps.config.seeds import seeds_read
from apps.providers.types import Usage
from apps.usage.costs import cost_of

NOV_2026 = dt.datetime(2026, 11, 23, tzinfo=dt.UTC).timestamp()
JAN_2027 = dt.datetime(2027, 1, 2, tzinfo=dt.UTC).timestamp()


@pytest.fixture
def synced(db):
    prices_sync()


def usd(provider, model, meter, *, at=NOV_2026, input_tokens=0, variant=""):
    """USD per million units, None when unknown."""
    rate = price_book_get(provider, model).price_at(meter, at, input_tokens, variant)
    return None if rate is None else Decimal(rate.text) * 1_000_000


def set_price(model="gpt-4o", meter="input", usd_per_million="7", **fields):
    fields = {"provider_id": "openai", "valid_from": price_sync.ALWAYS, "source": "operator"} | fields
    return Price.objects.create(model=model, meter=meter, usd_per_million=Decimal(usd_per_million), **fields)


# --- what the table knows after a sync ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "model", "figures"),
    [
        ("openai", "gpt-4o", {"input": "2.5", "cached_input": "1.25", "output": "10"}),
        ("openai", "gpt-4o-mini", {"input": "0.15", "cached_input": "0.075", "output": "0.6"}),
        (
            "openai",
            "gpt-6-luna",
            {"input": "0.1", "cached_input": "0.01", "cache_write": "0.125", "output": "0.5"},
        ),
        ("openai", "gpt-6.1-sol", {"input": "2", "cached_input": "0.1", "output": "10"}),
        ("anthropic", "claude-3-5-haiku-20241022", {"input": "0.8", "output": "4"}),
        (
            "anthropic",
            "claude-opus-5-5",
            {"input": "4", "cached_input": "0.2", "cache_write": "5", "output": "20"},
        ),
        ("gemini", "gemini-3.8-flash", {"input": "0.75", "cached_input": "0.075", "output": "3.75"}),
        ("gemini", "gemini-3.5-flash-lite", {"input": "0.3", "cached_input": "0.03", "output": "2.5"}),
        (
            "anthropic",
            "claude-haiku-4-5",
            {"input": "1", "cached_input": "0.1", "cache_write": "1.25", "output": "5"},
        ),
        ("openai", "gpt-image-2.6-flare", {"input": "5", "output": "30"}),
        ("elevenlabs", "eleven_multilingual_v2", {"character": "80"}),
        ("ideogram", "V_2", {"image": "80000"}),
        ("pexels", "search", {"request": "0"}),
        ("shotstack", "edit", {"second": "5000"}),
    ],
)
def test_the_makers_prices_are_in_the_table(synced, provider, model, figures):
    assert {meter: usd(provider, model, meter) for meter in figures} == {
        meter: Decimal(figure) for meter, figure in figures.items()
    }


def test_long_prompts_have_their_tier(synced):
    assert usd("openai", "gpt-6-luna", "input", input_tokens=272_000) == Decimal("0.1")
    assert usd("openai", "gpt-6-luna", "input", input_tokens=272_001) == Decimal("0.2")
    assert usd("openai", "gpt-6-luna", "output", input_tokens=272_001) == Decimal("0.75")
    assert usd("anthropic", "claude-haiku-5-5", "input", input_tokens=100_001) == Decimal("0.5")
    assert usd("anthropic", "claude-sonnet-4-5", "output", input_tokens=200_001) == Decimal("22.5")


def test_a_promotion_ends_on_its_day(synced):
    assert usd("gemini", "gemini-3.8-flash", "input", at=JAN_2027) == Decimal("1.5")
    assert usd("gemini", "gemini-3.7-flash", "output", at=NOV_2026) == Decimal("3.75")
    assert usd("gemini", "gemini-3.7-flash", "output", at=JAN_2027) == Decimal("7.5")


def test_a_maker_that_dropped_its_tiers_charges_none(synced):
    assert usd("anthropic", "claude-opus-4-6", "input", input_tokens=300_000) == Decimal(5)
    before = dt.datetime(2026, 3, 1, tzinfo=dt.UTC).timestamp()
    assert usd("anthropic", "claude-opus-4-6", "input", input_tokens=300_000, at=before) == Decimal(10)


def test_pictures_and_video_are_priced_by_variant(synced):
    assert usd("openai", "dall-e-3", "image", variant="1792x1024/hd") == Decimal(120_000)
    assert usd("openai", "dall-e-3", "image", variant="1024x1024/standard") == Decimal(40_000)
    assert usd("openai", "dall-e-3", "image", variant="64x64") is None
    assert usd("gemini", "veo-3.1-generate-preview", "second", variant="4k") == Decimal(600_000)


def test_a_release_has_its_base_names_price(synced):
    assert usd("openai", "gpt-4o-2024-08-06", "input") == Decimal("2.5")
    assert usd("anthropic", "claude-3-5-sonnet-20241022", "output") == Decimal(15)
    assert usd("anthropic", "claude-3-5-sonnet-latest", "output") == Decimal(15)
    assert usd("gemini", "gemini-2.0-flash-001", "input") == Decimal("0.1")


def test_a_release_with_a_price_of_its_own_keeps_it(synced):
    assert usd("openai", "gpt-4o-2024-05-13", "input") == Decimal(5)


def test_names_are_shortened_by_release_suffixes_only():
    assert list(price_names("gpt-4o-2024-08-06")) == ["gpt-4o-2024-08-06", "gpt-4o"]
    assert list(price_names("claude-3-5-sonnet@20241022")) == [
        "claude-3-5-sonnet@20241022",
        "claude-3-5-sonnet",
    ]
    assert list(price_names("gpt-4o-mini")) == ["gpt-4o-mini"]
    assert list(price_names("ft:gpt-4o-2024-08-06:acme::id")) == ["ft:gpt-4o-2024-08-06:acme::id"]
    assert list(price_names("-latest")) == ["-latest"]


def test_models_that_mix_media_into_their_tokens_get_no_wrong_text_price(synced):
    assert usd("gemini", "gemini-3-pro-image", "output") is None
    assert usd("openai", "gpt-realtime", "output") is None


def test_every_seeded_model_has_a_price_but_those_that_say_they_have_none(synced):
    unpriced = {row.model_id for row in seeds_read() if not price_book_get(row.provider_id, row.model).lists}
    assert unpriced == {"gemini-omni-1.2-flash"}


def test_every_seeded_text_model_charges_a_call(synced):
    usage = Usage(input_tokens=900, cached_input_tokens=300, output_tokens=90, reasoning_tokens=30)
    for row in seeds_read():
        if row.capabilities.get("text"):
            book = price_book_for(provider_id=row.provider_id, model=row.model, pricing=row.pricing)
            assert cost_of(usage, book, at=NOV_2026).cost_usd > 0, row.model_id


def test_the_catalogue_and_the_package_agree_where_both_know():
    """When this fails the package has newer figures: look at the maker's page and mend data/prices.json."""
    theirs = {}
    for key, offer in price_sync._package_offers():
        theirs.setdefault(key[:5], []).append((key.valid_from, offer.usd_per_million))
    seen = 0
    for key, offer in price_sync._catalogue_offers():
        dated = sorted(entry for entry in theirs.get(key[:5], ()) if entry[0] <= key.valid_from)
        if dated:
            seen += 1
            assert offer.usd_per_million == dated[-1][1], key
    assert seen > 30


def test_every_catalogue_figure_says_where_it_comes_from():
    assert all(len(entry.note) > 4 and entry.prices for entry in catalogue_read())


# --- syncing --------------------------------------------------------------------------------------------------


def test_a_second_sync_asks_one_question_and_writes_nothing(synced):
    before = AuditEntry.objects.count(), ConfigChange.objects.count()
    with CaptureQueriesContext(connection) as queries:
        assert prices_sync() == (0, 0, 0)
    assert len(queries) == 1
    assert (AuditEntry.objects.count(), ConfigChange.objects.count()) == before


def test_a_sync_after_an_upgrade_changes_only_what_changed(synced):
    SeedRecord.objects.filter(name="prices").update(digest="older")
    Price.objects.filter(provider_id="openai", model="gpt-4o", meter="output").update(usd_per_million=1)
    Price.objects.filter(provider_id="openai", model="gpt-4o-mini", meter="output").delete()
    set_price(model="gone-model", source="catalogue")
    assert prices_sync() == (1, 1, 1)
    assert usd("openai", "gpt-4o", "output") == Decimal(10)
    assert AuditEntry.objects.filter(entity="price", actor_kind="system").count() == 2


def test_a_sync_never_touches_an_operators_price(synced):
    SeedRecord.objects.all().delete()
    Price.objects.filter(provider_id="openai", model="gpt-4o", meter="input").update(
        usd_per_million=7, source="operator"
    )
    set_price(model="house-model", usd_per_million="3")
    prices_sync()
    assert usd("openai", "gpt-4o", "input") == Decimal(7)
    assert usd("openai", "house-model", "input") == Decimal(3)
    assert Price.objects.filter(model="gpt-4o", meter="input").count() == 1


def test_an_operators_price_holds_against_newer_synced_ones(synced):
    set_price(usd_per_million="1.9")
    caches_clear()
    assert usd("openai", "gpt-4o", "input") == Decimal("1.9")
    assert usd("openai", "gpt-4o", "output") == Decimal(10)


def test_the_catalogue_wins_over_the_package(db, monkeypatch):
    key = price_sync.PriceKey("openai", "gpt-4o", "input", "", 0, timezone.now() - dt.timedelta(days=1))
    monkeypatch.setattr(
        price_sync, "_catalogue_offers", lambda: iter([(key, price_sync.Offer(Decimal(9), "catalogue"))])
    )
    prices_sync()
    rows = Price.objects.filter(provider_id="openai", model="gpt-4o")
    assert [(row.usd_per_million, row.source) for row in rows.filter(meter="input")] == [
        (Decimal(9), "catalogue")
    ]
    assert {row.source for row in rows.filter(meter="output")} == {"genai-prices"}


# --- books ----------------------------------------------------------------------------------------------------


def test_an_unknown_model_is_asked_for_once_and_has_no_price(db):
    assert price_book_get("openai", "no-such-model").lists == {}
    with memory_only():
        assert price_book_get("openai", "no-such-model").source == "unknown"


@pytest.mark.django_db(transaction=True)
def test_a_new_price_takes_effect_when_it_is_published():
    assert usd("openai", "gpt-4o-2024-08-06", "input") is None
    set_price(usd_per_million="1.9")
    change_publish(kind="price", ref="openai/gpt-4o")
    assert usd("openai", "gpt-4o-2024-08-06", "input") == Decimal("1.9")


def test_a_model_configs_own_pricing_replaces_the_table_whole(synced):
    own = price_book_for(
        provider_id="openai", model="gpt-6-luna", pricing={"input_per_million": 1, "output_per_million": 0.3}
    )
    usage = Usage(input_tokens=300_000, cached_input_tokens=300_000, output_tokens=1_000_000)
    cost = cost_of(usage, own, at=NOV_2026)
    assert cost.cost_usd == Decimal("0.6")
    assert own.source == "operator"


def test_pricing_that_names_no_usable_figure_makes_the_cost_unknown(db):
    own = price_book_for(
        provider_id="openai", model="gpt-4o", pricing={"input_per_million": True, "cost_per_1k_tokens": 3}
    )
    assert cost_of(Usage(input_tokens=1), own, at=NOV_2026).cost_usd is None


def test_every_pricing_key_reaches_its_meter(db):
    pricing = {
        "input_per_million": 1,
        "cached_input_per_million": 2,
        "cache_write_per_million": 3,
        "output_per_million": 4,
        "reasoning_per_million": 5,
        "per_image": 0.06,
        "per_second": 0.07,
        "per_1k_characters": 0.08,
        "per_request": 0.09,
    }
    own = price_book_for(provider_id="x", model="y", pricing=pricing)
    assert {meter: own.price_at(meter, 0.0).text for meter in Meter.values} == {
        "input": "0.000001",
        "cached_input": "0.000002",
        "cache_write": "0.000003",
        "output": "0.000004",
        "reasoning": "0.000005",
        "image": "0.06",
        "second": "0.07",
        "character": "0.00008",
        "request": "0.09",
    }


# --- for the eye ----------------------------------------------------------------------------------------------


def test_the_prices_shown_are_those_of_the_table(synced):
    row = ModelConfig(provider_id="openai", model="gpt-6-luna")
    assert pricing_display(row) == (
        {
            "input_per_million": 0.1,
            "cached_input_per_million": 0.01,
            "cache_write_per_million": 0.125,
            "output_per_million": 0.5,
        },
        "table",
    )


def test_of_several_variants_the_cheapest_is_shown(synced):
    row = ModelConfig(provider_id="openai", model="dall-e-3")
    assert pricing_display(row) == ({"per_image": 0.04}, "table")
    row = ModelConfig(provider_id="elevenlabs", model="eleven_multilingual_v2")
    assert pricing_display(row) == ({"per_1k_characters": 0.08}, "table")


def test_an_operators_pricing_is_shown_as_it_is(synced):
    row = ModelConfig(provider_id="openai", model="gpt-4o", pricing={"input_per_million": 9})
    assert pricing_display(row) == ({"input_per_million": 9}, "operator")


def test_an_unpriced_model_shows_that_nothing_is_known(synced):
    assert pricing_display(ModelConfig(provider_id="acme", model="acme-1")) == ({}, "unknown")
