"""The HTTP bodies of the text service, for its OpenAPI schema. Requests are checked by inputs.py, not by these."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

PROMPT_HELP = "What to ask. Either this or `messages`."


class TextOptionsSerializer(serializers.Serializer[Any]):
    """Options no neutral name covers are passed on to the provider as they are."""

    max_tokens = serializers.IntegerField(required=False, min_value=1, max_value=10_000_000)
    temperature = serializers.FloatField(required=False, min_value=0, max_value=2)
    top_p = serializers.FloatField(required=False, min_value=0, max_value=1)
    stop = serializers.ListField(child=serializers.CharField(), required=False, max_length=16)
    seed = serializers.IntegerField(required=False)
    system = serializers.CharField(required=False, help_text="What the model should know or be.")
    presence_penalty = serializers.FloatField(required=False, min_value=-2, max_value=2)
    frequency_penalty = serializers.FloatField(required=False, min_value=-2, max_value=2)
    reasoning_effort = serializers.CharField(required=False, max_length=32)
    user = serializers.CharField(required=False, max_length=256)
    stream = serializers.BooleanField(
        required=False, help_text="Answer as `POST /text/generate/stream` does."
    )


class TextMessageSerializer(serializers.Serializer[Any]):
    role = serializers.ChoiceField(choices=("system", "developer", "user", "assistant", "tool"))
    content = serializers.CharField(help_text="Text, or a list of text and image_url parts.")


class TextInputSerializer(serializers.Serializer[Any]):
    prompt = serializers.CharField(required=False, help_text=PROMPT_HELP)
    messages = TextMessageSerializer(
        many=True, required=False, help_text="A conversation instead of `prompt`."
    )
    model_id = serializers.CharField(
        required=False, max_length=100, help_text="A model of `GET /config/model-config`."
    )
    model = serializers.CharField(
        required=False,
        max_length=200,
        help_text='The older form: "provider:model" or a provider\'s own name.',
    )
    instance_id = serializers.CharField(required=False, max_length=64)
    project_id = serializers.CharField(required=False, max_length=64)
    expect_json = serializers.BooleanField(required=False)
    json_schema = serializers.DictField(required=False, help_text="What the JSON must look like.")
    json_max_retries = serializers.IntegerField(required=False, min_value=0, max_value=5)
    options = TextOptionsSerializer(required=False)


class JsonQaSerializer(serializers.Serializer[Any]):
    validated = serializers.BooleanField()
    attempts = serializers.IntegerField()
    repaired = serializers.BooleanField()


class TextMetadataSerializer(serializers.Serializer[Any]):
    provider = serializers.CharField()
    model = serializers.CharField(help_text="The provider's own name of what answered.")
    model_id = serializers.CharField()
    tokens_used = serializers.IntegerField()
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cached_input_tokens = serializers.IntegerField()
    reasoning_tokens = serializers.IntegerField()
    cost_usd = serializers.FloatField(allow_null=True, help_text="null: no price is known.")
    generation_time_ms = serializers.IntegerField()
    finish_reason = serializers.CharField()
    fallback_used = serializers.BooleanField()
    sandbox = serializers.BooleanField(required=False)
    json_qa = JsonQaSerializer(required=False)


class TextOutputSerializer(serializers.Serializer[Any]):
    success = serializers.BooleanField()
    text = serializers.CharField(allow_blank=True)
    json = serializers.JSONField(required=False, help_text="The parsed answer, with `expect_json`.")
    metadata = TextMetadataSerializer()
    request_id = serializers.CharField()
    timestamp = serializers.DateTimeField()


class TextHealthSerializer(serializers.Serializer[Any]):
    status = serializers.CharField()
    service = serializers.CharField()
    providers = serializers.DictField(help_text="Each provider as this process last saw it.")
    timestamp = serializers.DateTimeField()
