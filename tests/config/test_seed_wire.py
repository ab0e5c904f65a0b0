"""What each seeded mapping sends and reads, held against the makers' documentation."""

from __future__ import annotations

import json

import pytest

from apps.config.seeds import seeds_read
from apps.providers.mapping import mapping_compile, mapping_fill
from apps.providers.registry import text_adapter
from apps.providers.types import Message, ModelSpec, TextRequest

SEEDS = {row.model_id: row for row in seeds_read()}


def filled(model_id, *, stream=False, **values):
    """The request a seed's mapping makes: (method, URL, headers, body)."""
    request = mapping_fill(
        mapping_compile(SEEDS[model_id].payload_mapping), values, api_key="KEY", base_url="", stream=stream
    )
    body = json.loads(request.content) if request.content else None
    return request.method, str(request.url), request.headers, body


def test_openai_chat_goes_out_as_openai_documents_it():
    messages = [{"role": "user", "content": "Name a river."}]
    method, url, headers, body = filled("gpt-4o-mini", messages=messages, max_tokens=64, temperature=0.7)
    assert (method, url) == ("POST", "https://api.openai.com/v1/chat/completions")
    assert headers["authorization"] == "Bearer KEY"
    assert body == {
        "model": "gpt-4o-mini",
        "messages": messages,
        "max_completion_tokens": 64,
        "temperature": 0.7,
    }


def test_a_streamed_openai_call_asks_for_its_usage():
    body = filled("gpt-6-luna", stream=True, messages=[])[3]
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("model_id", [name for name, row in SEEDS.items() if row.capabilities.get("text")])
@pytest.mark.parametrize("stream", [False, True])
def test_a_text_models_mapping_says_what_its_adapter_does(model_id, stream):
    row = SEEDS[model_id]
    adapter = text_adapter(row.adapter)
    spec = ModelSpec(
        model_id=model_id,
        provider=row.provider_id,
        adapter=row.adapter,
        model=row.model,
        base_url=adapter.default_base_url,
        api_key="KEY",
        profile=row.profile,
        mapping=mapping_compile(row.payload_mapping),
    )
    asked = TextRequest(messages=(Message.user("Name a river."),), max_tokens=64)
    coded, mapped = (
        one.build_text_request(spec, asked, stream=stream) for one in (adapter, text_adapter("mapped"))
    )
    assert (mapped.method, mapped.url) == (coded.method, coded.url)
    assert json.loads(mapped.content) == json.loads(coded.content)
    for name in ("authorization", "x-api-key", "x-goog-api-key", "anthropic-version"):
        assert mapped.headers.get(name) == coded.headers.get(name)


def test_anthropic_gets_its_version_and_a_limit():
    method, url, headers, body = filled("claude-haiku-5-5", messages=[{"role": "user", "content": "Hi"}])
    assert (method, url) == ("POST", "https://api.anthropic.com/v1/messages")
    assert (headers["x-api-key"], headers["anthropic-version"]) == ("KEY", "2023-06-01")
    assert body["model"] == "claude-haiku-5-5"
    assert body["max_tokens"] > 0


def test_anthropics_input_is_the_sum_of_its_three_counts():
    response = mapping_compile(SEEDS["claude-haiku-5-5"].payload_mapping).response
    answer = {
        "content": [
            {"type": "thinking", "thinking": "hm"},
            {"type": "text", "text": "The "},
            {"type": "text", "text": "Ebro."},
        ],
        "usage": {
            "input_tokens": 14,
            "cache_creation_input_tokens": 100,
            "cache_read_input_tokens": 2000,
            "output_tokens": 6,
        },
    }
    assert response.text.all(answer) == ["The ", "Ebro."]
    assert response.usage.counts(answer) == {
        "input_tokens": 2114,
        "cached_input_tokens": 2000,
        "cache_write_tokens": 100,
        "output_tokens": 6,
    }


def test_gemini_text_and_its_stream_have_their_own_addresses():
    contents = [{"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Hi"}]
    _, url, headers, body = filled("gemini-3.8-flash", messages=contents, system="Be brief.")
    assert url == "https://generativelanguage.googleapis.com/v1beta/models/gemini-3.8-flash:generateContent"
    assert headers["x-goog-api-key"] == "KEY"
    assert body == {
        "contents": [
            {"role": "model", "parts": [{"text": "Yes?"}]},
            {"role": "user", "parts": [{"text": "Hi"}]},
        ],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
    }
    stream_url = filled("gemini-3.8-flash", stream=True, messages=contents)[1]
    assert stream_url.endswith("/gemini-3.8-flash:streamGenerateContent?alt=sse")


def test_geminis_thinking_counts_as_output_and_is_not_text():
    response = mapping_compile(SEEDS["gemini-3.8-flash"].payload_mapping).response
    answer = {
        "candidates": [{"content": {"parts": [{"text": "hm", "thought": True}, {"text": "The Ebro."}]}}],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 4, "thoughtsTokenCount": 21},
    }
    assert response.text.all(answer) == ["The Ebro."]
    assert response.usage.counts(answer) == {"input_tokens": 5, "output_tokens": 25, "reasoning_tokens": 21}


def test_dall_e_3_takes_its_three_sizes_or_their_ratios():
    body = filled("dall-e-3", user_prompt="A kite", size="16:9", quality="hd")[3]
    assert body == {
        "model": "dall-e-3",
        "prompt": "A kite",
        "n": 1,
        "size": "1792x1024",
        "quality": "hd",
        "style": "vivid",
        "response_format": "url",
    }


def test_gpt_image_is_sent_nothing_it_refuses():
    body = filled("gpt-image-2.6-flare", user_prompt="A kite", num_images="2", style="vivid")[3]
    assert body == {"model": "gpt-image-2.6-flare", "prompt": "A kite", "n": 2}
    media = mapping_compile(SEEDS["gpt-image-2.6-flare"].payload_mapping).media
    assert media.source == "base64"
    assert media.path.all({"data": [{"b64_json": "AA"}, {"b64_json": "BB"}]}) == ["AA", "BB"]


def test_ideogram_v2_gets_its_own_words_for_ratios():
    method, url, headers, body = filled(
        "ideogram-v2", user_prompt="OPEN", aspect_ratio="16:9", style="realistic"
    )
    assert (method, url, headers["api-key"]) == ("POST", "https://api.ideogram.ai/generate", "KEY")
    assert body == {
        "image_request": {
            "prompt": "OPEN",
            "model": "V_2",
            "aspect_ratio": "ASPECT_16_9",
            "style_type": "REALISTIC",
            "magic_prompt_option": "AUTO",
        }
    }
    assert filled("ideogram-v2", user_prompt="OPEN")[3]["image_request"]["aspect_ratio"] == "ASPECT_1_1"


def test_ideograms_unsafe_pictures_are_left_out():
    media = mapping_compile(SEEDS["ideogram-v2"].payload_mapping).media
    answer = {
        "data": [{"url": None, "is_image_safe": False}, {"url": "https://x/1.png", "is_image_safe": True}]
    }
    assert media.path.all(answer) == ["https://x/1.png"]


def test_ideogram_v3_spells_ratios_its_own_way():
    _, url, _, body = filled("ideogram-v3", user_prompt="OPEN", aspect_ratio="16:9", quality="high")
    assert url == "https://api.ideogram.ai/v1/ideogram-v3/generate"
    assert (body["aspect_ratio"], body["rendering_speed"]) == ("16x9", "QUALITY")


def test_nano_banana_asks_for_a_picture_and_finds_it_behind_text():
    _, url, _, body = filled("gemini-2.5-flash-image", user_prompt="A kite", aspect_ratio="16:9")
    assert url.endswith("/v1beta/models/gemini-2.5-flash-image:generateContent")
    assert body["generationConfig"] == {
        "responseModalities": ["IMAGE"],
        "imageConfig": {"aspectRatio": "16:9"},
    }
    media = mapping_compile(SEEDS["gemini-2.5-flash-image"].payload_mapping).media
    parts = [
        {"text": "Here it is."},
        {"thought": True, "inlineData": {"mimeType": "image/png", "data": "DRAFT"}},
        {"inlineData": {"mimeType": "image/png", "data": "FINAL"}},
    ]
    assert media.path.all({"candidates": [{"content": {"parts": parts}}]}) == ["FINAL"]
    assert filled("gemini-nano-banana-2.1", user_prompt="A kite", size="2k")[3]["generationConfig"][
        "imageConfig"
    ] == {"imageSize": "2K"}


def test_veo_is_submitted_and_asked_after_as_a_long_running_operation():
    _, url, headers, body = filled("gemini-veo-3.1", user_prompt="Waves", duration="6s")
    assert url.endswith("/v1beta/models/veo-3.1-generate-preview:predictLongRunning")
    assert headers["x-goog-api-key"] == "KEY"
    assert body == {
        "instances": [{"prompt": "Waves"}],
        "parameters": {"aspectRatio": "16:9", "durationSeconds": 6, "resolution": "720p"},
    }
    mapping = mapping_compile(SEEDS["gemini-veo-3.1"].payload_mapping)
    name = "models/veo-3.1-generate-preview/operations/op1"
    assert mapping.poll.job_id.first({"name": name}) == name
    asked = mapping.poll.request.fill({"job_id": name}, api_key="KEY", base_url="", headers=())
    assert (asked.method, str(asked.url)) == (
        "GET",
        f"https://generativelanguage.googleapis.com/v1beta/{name}",
    )
    assert mapping.poll.state({"name": name}) == "running"
    assert mapping.poll.state({"name": name, "done": True, "response": {}}) == "succeeded"
    assert mapping.poll.state({"name": name, "done": True, "error": {"code": 3, "message": "no"}}) == "failed"
    done = {"response": {"generateVideoResponse": {"generatedSamples": [{"video": {"uri": "https://x/f"}}]}}}
    assert (mapping.media.path.all(done), mapping.media.with_key) == (["https://x/f"], True)


def test_omni_states_its_length_as_text():
    body = filled("gemini-omni-1.2-flash", user_prompt="Waves", duration=5)[3]
    assert body["response_format"]["duration"] == "5s"
    assert (body["model"], body["background"]) == ("gemini-omni-1.2-flash", True)


def test_elevenlabs_settings_are_numbers_and_the_format_is_in_the_query():
    _, url, headers, body = filled(
        "eleven-multilingual-v2",
        text="Hello",
        stability="0.5",
        use_speaker_boost="true",
        output_format="pcm_16000",
    )
    assert url == "https://api.elevenlabs.io/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM?output_format=pcm_16000"
    assert headers["xi-api-key"] == "KEY"
    assert body == {
        "text": "Hello",
        "model_id": "eleven_multilingual_v2",
        "voice_settings": {"stability": 0.5, "use_speaker_boost": True},
    }


@pytest.mark.parametrize(
    "answer",
    [
        {"detail": {"type": "x", "code": "invalid_api_key", "message": "bad", "status": "y"}},
        {"detail": {"status": "invalid_api_key", "message": "bad"}},
        {"detail": [{"loc": ["body", "text"], "msg": "bad", "type": "z"}]},
    ],
)
def test_elevenlabs_errors_are_read_in_all_three_shapes(answer):
    response = mapping_compile(SEEDS["eleven-multilingual-v2"].payload_mapping).response
    assert response.error.first(answer) == "bad"


def test_pexels_photos_and_videos_have_their_own_paths_and_a_bare_key():
    method, url, headers, body = filled("pexels", query="red kite", orientation="landscape")
    assert (method, body, headers["authorization"]) == ("GET", None, "KEY")
    assert url == "https://api.pexels.com/v1/search?query=red%20kite&orientation=landscape&page=1&per_page=15"
    assert filled("pexels", query="kite", type="video")[1].startswith("https://api.pexels.com/videos/search?")


def test_shotstack_is_asked_after_where_it_answers():
    timeline = {"tracks": [{"clips": []}]}
    _, url, headers, body = filled("shotstack", timeline=timeline)
    assert (url, headers["x-api-key"]) == ("https://api.shotstack.io/edit/v1/render", "KEY")
    assert body == {"timeline": timeline, "output": {"format": "mp4", "resolution": "hd"}}
    mapping = mapping_compile(SEEDS["shotstack"].payload_mapping)
    created = {"success": True, "message": "Created", "response": {"message": "Queued", "id": "5c1f"}}
    assert (mapping.poll.job_id.first(created), mapping.response.error.first(created)) == ("5c1f", None)
    for word in ("queued", "fetching", "preprocessing", "generating", "saving"):
        assert mapping.poll.state({"response": {"status": word}}) == "running"
    assert mapping.poll.state({"response": {"status": "done"}}) == "succeeded"
    assert mapping.poll.state({"response": {"status": "failed", "error": "x"}}) == "failed"
