from __future__ import annotations

import io
from unittest.mock import ANY

import pytest
from django.core.management import call_command

from apps.accounts.models import ConfigChange
from apps.config.models import ModelConfig, Price
from apps.config.price_sync import ALWAYS
from apps.config.selectors import model_get
from apps.core.errors import ModelNotFound
from tests.config.conftest import make_model

MAPPING = {
    "endpoint": "https://api.acme.example/v1/write",
    "headers": {"Authorization": "Bearer {api_key}"},
    "body": {"prompt": "{prompt}", "length": "{max_tokens}"},
    "response_mapping": {"text": "$.answer"},
}
GOOD = {
    "model_id": "new-model",
    "provider_id": "openai",
    "display_name": "New",
    "capabilities": {"text": True},
}


def shown(response):
    assert response.status_code in (200, 201), response.content
    return response.json()["data"]


def faults(response):
    assert (response.status_code, response.json()["error_code"]) == (400, "INVALID_REQUEST"), response.content
    return response.json()["details"]["fields"]


# --- read ---------------------------------------------------------------------------------------------------


@pytest.fixture
def models(db):
    make_model("gpt-4o", display_name="GPT-4o")
    make_model("dall-e-3", display_name="DALL·E 3", capabilities={"image": True, "text": False})
    make_model("claude", display_name="Claude", provider_id="anthropic", status="beta")


def test_models_are_listed_by_provider_and_name(call, cast, models):
    data = shown(call("GET", "/model-config", cast.rita_key))
    assert [row["model_id"] for row in data["configs"]] == ["claude", "dall-e-3", "gpt-4o"]
    assert data["total"] == 3


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("type=text", ["claude", "gpt-4o"]),
        ("type=image", ["dall-e-3"]),
        ("type=video", []),
        ("provider_id=openai", ["dall-e-3", "gpt-4o"]),
        ("status=beta", ["claude"]),
        ("type=text&provider_id=openai&status=active", ["gpt-4o"]),
    ],
)
def test_filters(call, cast, models, query, found):
    data = shown(call("GET", f"/model-config?{query}", cast.project_key))
    assert [row["model_id"] for row in data["configs"]] == found


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("type", ["text", "image", "video", "audio", "stock", "render"]),
        ("status", ["active", "beta", "deprecated"]),
        ("provider_id", ["anthropic", "openai"]),
    ],
)
def test_an_unknown_filter_value_is_refused_with_the_allowed_ones(call, cast, models, name, allowed):
    response = call("GET", f"/model-config?{name}=nope", cast.bob_key)
    assert list(faults(response)) == [name]
    assert response.json()["details"]["allowed"] == {name: allowed}


def test_one_is_found_by_either_id(call, cast, models):
    by_model = shown(call("GET", "/model-config/gpt-4o", cast.bob_key))
    assert shown(call("GET", "/model-config/cfg_openai_gpt-4o", cast.bob_key)) == by_model
    assert by_model == {
        "config_id": "cfg_openai_gpt-4o",
        "model_id": "gpt-4o",
        "provider_id": "openai",
        "display_name": "GPT-4o",
        "description": "",
        "adapter": "openai",
        "model": "gpt-4o",
        "capabilities": {"text": True},
        "pricing": {},
        "pricing_source": "unknown",
        "rate_limits": {},
        "payload_mapping": {},
        "profile": {},
        "timeouts": {},
        "status": "active",
        "created_at": ANY,
        "updated_at": ANY,
    }


# --- create -------------------------------------------------------------------------------------------------


def test_a_model_is_made_with_defaults(call, cast, audited):
    response = call("POST", "/model-config", cast.root_key, GOOD)
    assert response.status_code == 201
    made = shown(response)
    assert made["config_id"] == "cfg_openai_new-model"
    assert (made["adapter"], made["model"], made["status"]) == ("openai", "new-model", "active")
    (row,) = audited()
    assert (row.action, row.entity, row.entity_id) == ("create", "model_config", "cfg_openai_new-model")
    assert (row.org_id, row.after["capabilities"]) == ("", {"text": True})


def test_the_caller_may_choose_everything(call, cast):
    body = GOOD | {
        "config_id": "cfg_mine",
        "model": "gpt-9-2027",
        "description": "Ours",
        "adapter": "anthropic",
        "capabilities": {"text": True, "reads_minds": False},
        "pricing": {"input_per_million": 0.1, "output_per_million": 12.345678, "per_request": 0},
        "rate_limits": {"rpm": 10, "rph": 20, "rpd": 30, "tpm": 40, "concurrent_requests": 5},
        "timeouts": {"connect_s": 1, "first_token_s": 2.5, "idle_s": 3, "total_s": 4},
        "profile": {"max_tokens_name": "max_completion_tokens"},
        "status": "deprecated",
    }
    made = shown(call("POST", "/model-config", cast.root_key, body))
    assert made == body | {
        "pricing_source": "operator",
        "payload_mapping": {},
        "created_at": ANY,
        "updated_at": ANY,
    }


def test_a_mapping_makes_a_provider_without_code(call, cast):
    body = GOOD | {"provider_id": "acme", "payload_mapping": MAPPING}
    made = shown(call("POST", "/model-config", cast.root_key, body))
    assert (made["adapter"], made["payload_mapping"]) == ("mapped", MAPPING)
    assert model_get("new-model").mapping is not None


def test_without_mapping_or_adapter_an_unknown_provider_is_refused(call, cast):
    response = call("POST", "/model-config", cast.root_key, GOOD | {"provider_id": "acme"})
    assert "payload_mapping" in faults(response)["adapter"][0]
    assert shown(
        call("POST", "/model-config", cast.root_key, GOOD | {"provider_id": "acme", "adapter": "openai"})
    )


def test_the_mapped_adapter_needs_a_mapping(call, cast):
    response = call("POST", "/model-config", cast.root_key, GOOD | {"adapter": "mapped"})
    assert list(faults(response)) == ["payload_mapping"]


def test_taken_ids_are_conflicts(call, cast, audited):
    call("POST", "/model-config", cast.root_key, GOOD)
    audited()
    for body in (
        GOOD,
        GOOD | {"config_id": "other"},
        GOOD | {"model_id": "m2", "config_id": "cfg_openai_new-model"},
    ):
        response = call("POST", "/model-config", cast.root_key, body)
        assert (response.status_code, response.json()["error_code"]) == (409, "CONFLICT")
    assert audited() == []


WRONG = [
    ({"model_id": "New Model"}, "model_id"),
    ({"model_id": "a/b"}, "model_id"),
    ({"model_id": "x" * 101}, "model_id"),
    ({"model_id": 7}, "model_id"),
    ({"provider_id": "Open AI"}, "provider_id"),
    ({"display_name": ""}, "display_name"),
    ({"config_id": "a b"}, "config_id"),
    ({"config_id": "x" * 161}, "config_id"),
    ({"model": "x" * 201}, "model"),
    ({"adapter": "magic"}, "adapter"),
    ({"status": "retired"}, "status"),
    ({"capabilities": {}}, "capabilities"),
    ({"capabilities": {"text": False}}, "capabilities"),
    ({"capabilities": ["text"]}, "capabilities"),
    ({"capabilities": {"text": "yes"}}, "capabilities.text"),
    ({"capabilities": {"text": 1}}, "capabilities.text"),
    ({"capabilities": {"text": True, "Reads Minds": True}}, "capabilities.Reads Minds"),
    ({"rate_limits": {"rpx": 1}}, "rate_limits.rpx"),
    ({"rate_limits": {"rpm": 0}}, "rate_limits.rpm"),
    ({"rate_limits": {"rpm": "5"}}, "rate_limits.rpm"),
    ({"rate_limits": []}, "rate_limits"),
    ({"timeouts": {"idle": 5}}, "timeouts.idle"),
    ({"timeouts": {"idle_s": 0}}, "timeouts.idle_s"),
    ({"timeouts": {"idle_s": True}}, "timeouts.idle_s"),
    ({"timeouts": {"idle_s": 1e300}}, "timeouts.idle_s"),
    ({"pricing": {"cost_per_1k_tokens": 1}}, "pricing.cost_per_1k_tokens"),
    ({"pricing": {"input_per_million": -1}}, "pricing.input_per_million"),
    ({"pricing": {"input_per_million": "2.50"}}, "pricing.input_per_million"),
    ({"pricing": {"input_per_million": None}}, "pricing.input_per_million"),
    ({"profile": []}, "profile"),
    ({"payload_mapping": []}, "payload_mapping"),
    ({"payload_mapping": MAPPING | {"bdy": {}}}, "payload_mapping.bdy"),
    (
        {"payload_mapping": MAPPING | {"response_mapping": {"text": "$.["}}},
        "payload_mapping.response_mapping.text",
    ),
    (
        {"payload_mapping": MAPPING | {"response_mapping": {"image_url": "$.url"}}},
        "payload_mapping.response_mapping.text",
    ),
    ({"payload_mapping": MAPPING | {"body": {"x": "{prompt|shout}"}}}, "payload_mapping.body.x"),
    (
        {
            "payload_mapping": MAPPING
            | {"headers": {"Authorization": "Bearer sk-abcdefghijklmnopqrstuvwxyz123456"}}
        },
        "payload_mapping.headers.Authorization",
    ),
    ({"model_ids": "x"}, "model_ids"),
]


@pytest.mark.parametrize(("change", "field"), WRONG, ids=lambda part: part if isinstance(part, str) else "")
def test_what_is_wrong_is_said_where_it_is(call, cast, change, field):
    assert list(faults(call("POST", "/model-config", cast.root_key, GOOD | change))) == [field]
    assert not ModelConfig.objects.exists()
    if field != "config_id":
        make_model("gpt-4o")
        assert list(faults(call("PUT", "/model-config/gpt-4o", cast.root_key, change))) == [field]


def test_a_mapping_to_a_private_address_is_refused(call, cast, settings):
    settings.DE_ALLOW_PRIVATE_NETWORKS = False
    mapping = MAPPING | {"endpoint": "http://169.254.169.254/latest/{prompt}"}
    response = call("POST", "/model-config", cast.root_key, GOOD | {"payload_mapping": mapping})
    assert "private" in faults(response)["payload_mapping.endpoint"][0]


def test_a_long_default_config_id_is_refused_and_another_can_be_given(call, cast):
    body = GOOD | {"model_id": "m" * 100, "provider_id": "p" * 64, "adapter": "openai"}
    assert list(faults(call("POST", "/model-config", cast.root_key, body))) == ["config_id"]
    assert shown(call("POST", "/model-config", cast.root_key, body | {"config_id": "cfg_long"}))


@pytest.mark.parametrize("model_id", [".", "-", "a.b-c", "9", "m" * 100])
def test_unusual_model_ids_work_in_every_path(call, cast, model_id):
    made = shown(call("POST", "/model-config", cast.root_key, GOOD | {"model_id": model_id}))
    if model_id != ".":  # a lone dot is gone before it reaches us: clients resolve it as a path
        assert shown(call("GET", f"/model-config/{model_id}", cast.bob_key)) == made
    assert shown(call("GET", f"/model-config/{made['config_id']}", cast.bob_key)) == made


# --- prices -------------------------------------------------------------------------------------------------


@pytest.fixture
def table_price(db):
    fields = {"provider_id": "openai", "model": "gpt-4o", "source": "genai-prices", "valid_from": ALWAYS}
    Price.objects.create(meter="input", usd_per_million="2.5", **fields)
    Price.objects.create(meter="output", usd_per_million="10", **fields)
    make_model("gpt-4o")


def test_prices_of_the_table_are_shown_and_go_on_following_it(call, cast, table_price, audited):
    read = shown(call("GET", "/model-config/gpt-4o", cast.bob_key))
    assert read["pricing"] == {"input_per_million": 2.5, "output_per_million": 10}
    assert read["pricing_source"] == "table"
    assert shown(call("PUT", "/model-config/gpt-4o", cast.root_key, read)) == read
    assert ModelConfig.objects.get().pricing == {}
    assert audited() == []


def test_an_operators_price_wins_and_an_empty_one_gives_way(call, cast, table_price):
    body = {"pricing": {"input_per_million": 0.123456}}
    made = shown(call("PUT", "/model-config/gpt-4o", cast.root_key, body))
    assert (made["pricing"], made["pricing_source"]) == (body["pricing"], "operator")
    made = shown(call("PUT", "/model-config/gpt-4o", cast.root_key, {"pricing": {}}))
    assert made["pricing_source"] == "table"


def test_prices_read_from_the_table_do_not_stick_when_the_provider_model_changes(call, cast, table_price):
    read = shown(call("GET", "/model-config/gpt-4o", cast.bob_key))
    changed = shown(call("PUT", "/model-config/gpt-4o", cast.root_key, read | {"model": "unheard-of"}))
    assert (changed["pricing"], changed["pricing_source"]) == ({}, "unknown")


# --- update and delete --------------------------------------------------------------------------------------


def test_put_changes_only_the_fields_sent(call, cast, audited):
    make_model("gpt-4o")
    before = shown(call("GET", "/model-config/gpt-4o", cast.root_key))
    after = shown(call("PUT", "/model-config/cfg_openai_gpt-4o", cast.root_key, {"status": "deprecated"}))
    assert {name for name in after if after[name] != before[name]} == {"status", "updated_at"}
    (row,) = audited()
    assert (row.before, row.after) == ({"status": "active"}, {"status": "deprecated"})


def test_a_change_and_a_new_name_are_seen_by_the_next_request(call, cast):
    make_model("gpt-4o")
    assert not model_get("gpt-4o").is_deprecated
    call("PUT", "/model-config/gpt-4o", cast.root_key, {"status": "deprecated"})
    assert model_get("gpt-4o").is_deprecated
    call("PUT", "/model-config/gpt-4o", cast.root_key, {"model_id": "gpt-4p"})
    assert model_get("gpt-4p").is_deprecated
    with pytest.raises(ModelNotFound):
        model_get("gpt-4o")
    assert {change.ref for change in ConfigChange.objects.filter(kind="model_config")} == {"gpt-4o", "gpt-4p"}


def test_a_name_taken_by_another_is_a_conflict(call, cast):
    make_model("gpt-4o")
    make_model("gpt-4p")
    response = call("PUT", "/model-config/gpt-4o", cast.root_key, {"model_id": "gpt-4p"})
    assert (response.status_code, response.json()["error_code"]) == (409, "CONFLICT")


def test_the_config_id_cannot_be_changed(call, cast):
    make_model("gpt-4o")
    assert list(faults(call("PUT", "/model-config/gpt-4o", cast.root_key, {"config_id": "x"}))) == [
        "config_id"
    ]


def test_a_new_mapping_is_used_unless_an_adapter_is_named(call, cast):
    make_model("gpt-4o")
    body = {"payload_mapping": MAPPING}
    assert (
        shown(call("PUT", "/model-config/gpt-4o", cast.root_key, body | {"adapter": "openai"}))["adapter"]
        == "openai"
    )
    assert shown(call("PUT", "/model-config/gpt-4o", cast.root_key, body))["adapter"] == "openai", "as it was"
    newer = {"payload_mapping": MAPPING | {"method": "PUT"}}
    assert shown(call("PUT", "/model-config/gpt-4o", cast.root_key, newer))["adapter"] == "mapped"
    response = call("PUT", "/model-config/gpt-4o", cast.root_key, {"payload_mapping": {}})
    assert list(faults(response)) == ["payload_mapping"]


def test_a_change_is_checked_against_what_stays(call, cast):
    """The mapping was fine for a text model; for an image model it lacks the picture."""
    shown(call("POST", "/model-config", cast.root_key, GOOD | {"payload_mapping": MAPPING}))
    response = call("PUT", "/model-config/new-model", cast.root_key, {"capabilities": {"image": True}})
    assert list(faults(response)) == ["payload_mapping.response_mapping.media"]


def test_deleting(call, cast, audited):
    make_model("gpt-4o")
    model_get("gpt-4o")
    deleted = shown(call("DELETE", "/model-config/gpt-4o", cast.root_key))
    assert deleted == {"deleted": True, "config_id": "cfg_openai_gpt-4o", "model_id": "gpt-4o"}
    assert call("DELETE", "/model-config/gpt-4o", cast.root_key).status_code == 404
    with pytest.raises(ModelNotFound):
        model_get("gpt-4o")
    (row,) = audited()
    assert (row.action, row.before["model_id"], row.after) == ("delete", "gpt-4o", {})


def test_every_seed_can_be_saved_as_it_is_read(call, cast, audited):
    call_command("seed_model_configs", verbosity=0, stdout=io.StringIO())
    audited()
    rows = shown(call("GET", "/model-config", cast.root_key))["configs"]
    assert len(rows) >= 12
    for row in rows:
        assert shown(call("PUT", f"/model-config/{row['config_id']}", cast.root_key, row)) == row
    assert audited() == []


def test_faults_of_a_mapping_are_named_beside_all_others(call, cast):
    body = GOOD | {"display_name": 7, "payload_mapping": MAPPING | {"bdy": {}}, "timeouts": {"idle": 1}}
    response = call("POST", "/model-config", cast.root_key, body)
    assert set(faults(response)) == {"display_name", "payload_mapping.bdy", "timeouts.idle"}
