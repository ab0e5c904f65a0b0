from __future__ import annotations

import json
import time
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.accounts.audit import SYSTEM
from apps.accounts.models import AuditEntry, ConfigChange
from apps.config import seeds as seeds_module
from apps.config.models import ModelConfig, Price, SeedRecord
from apps.config.seeds import model_configs_seed, seeds_read
from apps.config.services.model_configs import model_config_clean, model_config_update
from apps.providers.mapping import mapping_validate

CONTRACT_NAMES = {
    "claude-3-5-sonnet": ("anthropic", "Claude 3.5 Sonnet"),
    "claude-3-5-haiku": ("anthropic", "Claude 3.5 Haiku"),
    "gpt-4o": ("openai", "GPT-4o"),
    "gpt-4o-mini": ("openai", "GPT-4o-mini"),
    "dall-e-3": ("openai", "DALL-E 3"),
    "dall-e-2": ("openai", "DALL-E 2"),
    "ideogram-v2": ("ideogram", "Ideogram V2"),
    "gemini-veo-3.1": ("gemini", "Veo 3.1"),
    "gemini-2.5-flash-image": ("gemini", 'Gemini Flash Image "Nano Banana"'),
    "eleven-multilingual-v2": ("elevenlabs", "Multilingual V2"),
    "pexels": ("pexels", "Pexels"),
    "shotstack": ("shotstack", "Shotstack"),
}
SEEDS = {row.model_id: row for row in seeds_read()}
RETIRED = {
    "claude-3-5-sonnet": "claude-sonnet-5-5",
    "claude-3-5-haiku": "claude-haiku-5-5",
    "dall-e-3": "gpt-image-2.6-sunburst",
    "dall-e-2": "gpt-image-2.6-flare",
    "gemini-veo-3.1": "gemini-omni-1.2-flash",
    "gemini-2.5-flash-image": "gemini-nano-banana-2.1",
}


@pytest.fixture
def seed_file(tmp_path, monkeypatch):
    """A copy of the seed file a test may change, and the function that changes it."""
    copy = tmp_path / "model_configs.json"
    copy.write_bytes(seeds_module.SEEDS.read_bytes())
    monkeypatch.setattr(seeds_module, "SEEDS", copy)

    def change(model_id, **fields):
        content = json.loads(copy.read_text())
        next(entry for entry in content["models"] if entry["model_id"] == model_id).update(fields)
        copy.write_text(json.dumps(content))

    return change


# --- what is seeded -------------------------------------------------------------------------------------------


def test_the_contracts_models_are_there_under_their_names():
    shown = {name: (SEEDS[name].provider_id, SEEDS[name].display_name) for name in CONTRACT_NAMES}
    assert shown == CONTRACT_NAMES


def test_config_ids_are_made_of_provider_and_model():
    assert SEEDS["gpt-4o"].config_id == "cfg_openai_gpt-4o"
    assert len({row.config_id for row in SEEDS.values()}) == len(SEEDS)


@pytest.mark.parametrize("model_id", SEEDS)
def test_every_seed_is_a_mapping_without_fault(model_id):
    row = SEEDS[model_id]
    assert mapping_validate(row.payload_mapping, capabilities=list(row.capabilities)) == []


@pytest.mark.django_db
@pytest.mark.parametrize("model_id", SEEDS)
def test_every_seed_is_what_an_operator_could_have_saved(model_id):
    row = SEEDS[model_id]
    fields = {name: getattr(row, name) for name in seeds_module.CONTENT_FIELDS}
    assert model_config_clean(fields) == fields


@pytest.mark.parametrize(("model_id", "successor"), RETIRED.items())
def test_retired_models_are_deprecated_and_name_their_successor(model_id, successor):
    assert SEEDS[model_id].status == "deprecated"
    assert successor in SEEDS[model_id].description
    assert SEEDS[successor].status != "deprecated"


def test_only_retired_models_are_deprecated():
    assert {name for name, row in SEEDS.items() if row.status == "deprecated"} == set(RETIRED)


def test_models_that_refuse_sampling_say_so_and_send_none():
    for name, row in SEEDS.items():
        if row.profile.get("sampling") is False:
            text = json.dumps(row.payload_mapping)
            assert "{temperature" not in text, name
            assert "{top_p" not in text, name
    refusing = {name for name, row in SEEDS.items() if row.profile.get("sampling") is False}
    assert {"claude-haiku-5-5", "gpt-6-luna", "gemini-3.8-flash"} <= refusing
    assert not refusing & {"gpt-4o", "claude-3-5-sonnet", "gemini-3.5-flash-lite"}


# --- seeding --------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_first_run_makes_every_row_audited_and_published():
    report = model_configs_seed()
    assert (
        sorted(report.created)
        == sorted(SEEDS)
        == sorted(ModelConfig.objects.values_list("model_id", flat=True))
    )
    entries = AuditEntry.objects.filter(entity="model_config", action="create", actor_kind="system")
    assert entries.count() == len(SEEDS)
    assert set(ConfigChange.objects.filter(kind="model_config").values_list("ref", flat=True)) == set(SEEDS)


@pytest.mark.django_db
def test_a_second_run_writes_nothing_and_is_quick():
    call_command("seed_model_configs", stdout=StringIO())
    with CaptureQueriesContext(connection) as queries:
        started = time.process_time()
        call_command("seed_model_configs", stdout=StringIO())
        took_s = time.process_time() - started
    assert [query["sql"] for query in queries if not query["sql"].startswith("SELECT")] == []
    assert len(queries) <= 3
    assert took_s < 0.1


@pytest.mark.django_db
def test_an_unedited_row_follows_its_seed(seed_file):
    model_configs_seed()
    made_at = ModelConfig.objects.get(model_id="gpt-4o").created_at
    seed_file("gpt-4o", description="Shut down.", status="deprecated")
    assert model_configs_seed().updated == ["gpt-4o"]
    row = ModelConfig.objects.get(model_id="gpt-4o")
    assert (row.description, row.status, row.created_at) == ("Shut down.", "deprecated", made_at)
    entry = AuditEntry.objects.filter(action="update").get()
    assert entry.after == {"description": "Shut down.", "status": "deprecated"}
    assert ConfigChange.objects.filter(kind="model_config", ref="gpt-4o").count() == 2
    assert model_configs_seed().updated == []


@pytest.mark.django_db
def test_an_operators_edit_is_left_alone(seed_file):
    model_configs_seed()
    model_config_update(actor=SYSTEM, config_id="cfg_openai_gpt-4o", fields={"display_name": "Our GPT"})
    seed_file("gpt-4o", description="Newer text.")
    report = model_configs_seed()
    assert (report.edited, report.updated) == (["gpt-4o"], [])
    row = ModelConfig.objects.get(model_id="gpt-4o")
    assert row.display_name == "Our GPT"
    assert row.description != "Newer text."


@pytest.mark.django_db
def test_an_edit_that_was_taken_back_is_no_edit(seed_file):
    model_configs_seed()
    for name in ("Our GPT", "GPT-4o"):
        model_config_update(actor=SYSTEM, config_id="cfg_openai_gpt-4o", fields={"display_name": name})
    seed_file("gpt-4o", description="Newer text.")
    assert model_configs_seed().updated == ["gpt-4o"]


@pytest.mark.django_db
def test_a_deleted_row_does_not_come_back(seed_file):
    model_configs_seed()
    ModelConfig.objects.filter(model_id="gpt-4o").delete()
    seed_file("gpt-4o", description="Newer text.")
    assert model_configs_seed().deleted == ["gpt-4o"]
    assert not ModelConfig.objects.filter(model_id="gpt-4o").exists()


@pytest.mark.django_db
def test_a_row_an_operator_made_under_a_seeds_id_is_left_alone():
    row = SEEDS["gpt-4o"]
    fields = {name: getattr(row, name) for name in seeds_module.CONTENT_FIELDS} | {"display_name": "Mine"}
    ModelConfig.objects.create(config_id="cfg_mine", **fields)
    report = model_configs_seed()
    assert report.edited == ["gpt-4o"]
    assert ModelConfig.objects.get(model_id="gpt-4o").display_name == "Mine"
    assert not SeedRecord.objects.filter(name="cfg_openai_gpt-4o").exists()


@pytest.mark.django_db
def test_a_failing_run_leaves_nothing_half_written(monkeypatch):
    saved = []

    def fail_at_the_third(**fields):
        saved.append(fields["entity_id"])
        if len(saved) == 3:
            raise RuntimeError("disk full")

    monkeypatch.setattr(seeds_module, "audit_record", fail_at_the_third)
    with pytest.raises(RuntimeError):
        model_configs_seed()
    assert not ModelConfig.objects.exists()
    assert not SeedRecord.objects.exists()


@pytest.mark.django_db
def test_the_command_says_what_it_did():
    first, second = StringIO(), StringIO()
    call_command("seed_model_configs", stdout=first)
    model_config_update(actor=SYSTEM, config_id="cfg_pexels_pexels", fields={"description": "Ours."})
    ModelConfig.objects.filter(model_id="shotstack").delete()
    call_command("seed_model_configs", stdout=second)
    assert "created: claude-3-5-sonnet, " in first.getvalue()
    assert f"prices: {Price.objects.count()} created" in first.getvalue()
    assert "left alone, edited here: pexels\n" in second.getvalue()
    assert "left alone, deleted here: shotstack\n" in second.getvalue()
    assert f"unchanged: {len(SEEDS) - 2} model configs\n" in second.getvalue()
