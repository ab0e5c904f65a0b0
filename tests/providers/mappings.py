"""Well-known makers as payload mappings: the proof that the language can say what they speak.

Request and answer shapes: the makers' public documentation and recorded answers, read 2026-11-23.
"""

from __future__ import annotations

from typing import Any

Mapping = dict[str, Any]

OPENAI_CHAT: Mapping = {
    "endpoint": "https://api.openai.com/v1/chat/completions",
    "method": "POST",
    "headers": {"Authorization": "Bearer {api_key}", "Content-Type": "application/json"},
    "body": {
        "model": "{model}",
        "messages": "{messages}",
        "max_completion_tokens": "{max_tokens}",
        "temperature": "{temperature}",
        "top_p": "{top_p}",
        "stop": "{stop}",
        "seed": "{seed}",
        "response_format": "{response_format}",
    },
    "response_mapping": {
        "text": "$.choices[0].message.content",
        "finish_reason": "$.choices[0].finish_reason",
        "model": "$.model",
        "usage": {
            "input_tokens": "$.usage.prompt_tokens",
            "cached_input_tokens": "$.usage.prompt_tokens_details.cached_tokens",
            "output_tokens": "$.usage.completion_tokens",
            "reasoning_tokens": "$.usage.completion_tokens_details.reasoning_tokens",
        },
        "error": "$.error.message",
        "stream": {
            "body": {"stream": True, "stream_options.include_usage": True},
            "text": "$.choices[0].delta.content",
            "finish_reason": "$.choices[0].finish_reason",
            "model": "$.model",
            "usage": {"input_tokens": "$.usage.prompt_tokens", "output_tokens": "$.usage.completion_tokens"},
            "error": "$.error.message",
            "done": "[DONE]",
        },
    },
}

# input_tokens leaves the cached ones out there, so the three are summed.
_ANTHROPIC_INPUT = "['input_tokens','cache_creation_input_tokens','cache_read_input_tokens']"

ANTHROPIC_MESSAGES: Mapping = {
    "endpoint": "https://api.anthropic.com/v1/messages",
    "method": "POST",
    "headers": {"x-api-key": "{api_key}", "anthropic-version": "2023-06-01"},
    "body": {
        "model": "{model}",
        "max_tokens": "{max_tokens}",
        "system": "{system}",
        "messages": "{messages}",
        "stop_sequences": "{stop}",
    },
    "defaults": {"max_tokens": 1024},
    "response_mapping": {
        "text": "$.content[?@.type == 'text'].text",
        "finish_reason": "$.stop_reason",
        "model": "$.model",
        "usage": {
            "input_tokens": f"$.usage{_ANTHROPIC_INPUT}",
            "cached_input_tokens": "$.usage.cache_read_input_tokens",
            "cache_write_tokens": "$.usage.cache_creation_input_tokens",
            "output_tokens": "$.usage.output_tokens",
        },
        "error": "$.error.message",
        "stream": {
            "body": {"stream": True},
            "text": "$.delta.text",
            "finish_reason": "$.delta.stop_reason",
            "model": "$.message.model",
            "usage": {
                "input_tokens": f"$.message.usage{_ANTHROPIC_INPUT}",
                "output_tokens": "$.usage.output_tokens",
            },
            "error": "$.error.message",
            "done": "message_stop",
        },
    },
}

_GEMINI_USAGE = {
    "input_tokens": "$.usageMetadata.promptTokenCount",
    "cached_input_tokens": "$.usageMetadata.cachedContentTokenCount",
    "output_tokens": "$.usageMetadata['candidatesTokenCount','thoughtsTokenCount']",
    "reasoning_tokens": "$.usageMetadata.thoughtsTokenCount",
}
_GEMINI_TEXT = "$.candidates[0].content.parts[?!@.thought].text"

GEMINI_GENERATE: Mapping = {
    "endpoint": "https://generativelanguage.googleapis.com/v1beta/models/{model}:generateContent",
    "method": "POST",
    "headers": {"x-goog-api-key": "{api_key}"},
    "body": {
        "contents": "{messages|messagesToContents}",
        "systemInstruction": {"parts": [{"text": "{system}"}]},
        "generationConfig.maxOutputTokens": "{max_tokens}",
        "generationConfig.temperature": "{temperature}",
        "generationConfig.stopSequences": "{stop}",
    },
    "response_mapping": {
        "text": _GEMINI_TEXT,
        "finish_reason": "$.candidates[0].finishReason",
        "model": "$.modelVersion",
        "usage": _GEMINI_USAGE,
        "error": "$.error.message",
        "stream": {
            "endpoint": "/v1beta/models/{model}:streamGenerateContent?alt=sse",
            "text": _GEMINI_TEXT,
            "finish_reason": "$.candidates[0].finishReason",
            "usage": _GEMINI_USAGE,
            "error": "$.error.message",
        },
    },
}

IDEOGRAM_LEGACY: Mapping = {
    "endpoint": "https://api.ideogram.ai/generate",
    "method": "POST",
    "headers": {"Api-Key": "{api_key}"},
    "body": {
        "image_request": {
            "prompt": "{user_prompt}",
            "model": "V_2",
            "aspect_ratio": "{aspect_ratio|aspectToIdeogram}",
            "style_type": "{style|upper}",
            "negative_prompt": "{negative_prompt}",
            "num_images": "{num_images:int}",
            "seed": "{seed:int}",
            "magic_prompt_option": "AUTO",
        }
    },
    "defaults": {"aspect_ratio": "1:1"},
    "response_mapping": {
        "media": {"from": "url", "path": "$.data[?@.is_image_safe == true].url"},
        "resolution": "$.data[0].resolution",
        "error": "$.error",
    },
}

ELEVENLABS_SPEECH: Mapping = {
    "endpoint": "https://api.elevenlabs.io/v1/text-to-speech/{voice_id}?output_format={output_format}",
    "method": "POST",
    "headers": {"xi-api-key": "{api_key}"},
    "body": {
        "text": "{text}",
        "model_id": "{model}",
        "voice_settings": {
            "stability": "{stability:float}",
            "similarity_boost": "{similarity_boost:float}",
            "style": "{style:float}",
            "use_speaker_boost": "{use_speaker_boost:bool}",
        },
    },
    "defaults": {"voice_id": "21m00Tcm4TlvDq8ikWAM", "output_format": "mp3_44100_128"},
    "response_mapping": {"media": {"from": "bytes"}, "error": "$.detail.message"},
}

VEO: Mapping = {
    "endpoint": "https://generativelanguage.googleapis.com/v1beta/models/{model}:predictLongRunning",
    "method": "POST",
    "headers": {"x-goog-api-key": "{api_key}"},
    "body": {
        "instances": [{"prompt": "{user_prompt}"}],
        "parameters": {
            "aspectRatio": "{aspect_ratio}",
            "durationSeconds": "{duration|secondsToNumber}",
            "resolution": "{size}",
            "negativePrompt": "{negative_prompt}",
        },
    },
    "defaults": {"aspect_ratio": "16:9", "duration": "8s"},
    "response_mapping": {
        "media": {
            "from": "url",
            "path": "$.response.generateVideoResponse.generatedSamples[*].video.uri",
            "with_key": True,
        },
        "error": "$.error.message",
        "poll": {
            "job_id": "$.name",
            "endpoint": "/v1beta/{job_id|keepSlashes}",
            "interval_s": 10,
            "status": "$.done",
            "succeeded": [True],
            "error": "$.error.message",
        },
    },
}

# Newline-delimited JSON, no key, a host of the instance's own.
OLLAMA_CHAT: Mapping = {
    "endpoint": "/api/chat",
    "method": "POST",
    "body": {
        "model": "{model}",
        "messages": "{messages}",
        "stream": "{stream}",
        "options.temperature": "{temperature}",
        "options.num_predict": "{max_tokens}",
    },
    "response_mapping": {
        "text": "$.message.content",
        "finish_reason": "$.done_reason",
        "usage": {"input_tokens": "$.prompt_eval_count", "output_tokens": "$.eval_count"},
        "error": "$.error",
        "stream": {
            "format": "ndjson",
            "text": "$.message.content",
            "finish_reason": "$.done_reason",
            "usage": {"input_tokens": "$.prompt_eval_count", "output_tokens": "$.eval_count"},
            "done": "$.done",
        },
    },
}

ALL: dict[str, Mapping] = {
    "openai": OPENAI_CHAT,
    "anthropic": ANTHROPIC_MESSAGES,
    "gemini": GEMINI_GENERATE,
    "ideogram": IDEOGRAM_LEGACY,
    "elevenlabs": ELEVENLABS_SPEECH,
    "veo": VEO,
    "ollama": OLLAMA_CHAT,
}
