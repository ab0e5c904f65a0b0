"""What saving a mapping refuses, and where it says the fault is."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from apps.providers.mapping import MappingInvalid, mapping_compile, mapping_validate
from tests.providers import mappings

GOOD: dict[str, Any] = {
    "endpoint": "/v1/chat",
    "method": "POST",
    "headers": {"Authorization": "Bearer {api_key}"},
    "body": {"prompt": "{user_prompt}"},
    "response_mapping": {"text": "$.answer"},
    "defaults": {},
    "transformations": {},
}
STREAM = {"text": "$.delta", "done": "[DONE]"}
POLL = {
    "job_id": "$.id",
    "endpoint": "/jobs/{job_id}",
    "status": "$.s",
    "succeeded": ["ok"],
    "failed": ["no"],
}


def faults(changes: dict[str, Any], **rest: Any) -> dict[str, str]:
    """changes: dotted path -> the value put there."""
    raw = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *parents, last = path.split("/")
        target = raw
        for name in parents:
            target = target.setdefault(name, {})
        target[last] = value
    return {fault.path: fault.message for fault in mapping_validate(raw, **rest)}


def answers(**keys: Any) -> dict[str, Any]:
    return {f"response_mapping/{key}": value for key, value in keys.items()}


def test_a_good_mapping_has_no_faults() -> None:
    assert faults({}) == {}


@pytest.mark.parametrize("maker", mappings.ALL)
def test_every_well_known_maker_can_be_said(maker: str) -> None:
    assert mapping_validate(mappings.ALL[maker]) == []


ENDPOINTS = [
    ("", "is needed"),
    (None, "is needed"),
    (5, "is needed"),
    ("v1/chat", "begin with one /"),
    ("//evil.example/v1", "begin with one /"),
    ("ftp://host/v1", "begin with one /"),
    ("{base}/v1", "begin with one /"),
    ("https://{host}/v1", "host must be written out"),
    ("https://api.{region}.example/v1", "host must be written out"),
    ("https://host:{port}/v1", "host must be written out"),
    ("https:///v1", "no host"),
    ("https://user:word@host/v1", "user name or password"),
    ("https://hóst/v1", "xn--"),
    ("https://host:123456/v1", "no host"),
    ("/v1/a b", "spaces"),
    ("/v1\\..\\x", "backslashes"),
    ("/v1\r\nX: 1", "control characters"),
    ("/v1#top", "#"),
    ("/v1/../admin", ".."),
    ("/v1/{api_key}", "only in headers"),
    ("/v1?{name}=1", "not in names"),
    ("/v1?key=AIzaSyA-1234567890abcdefghij", "{api_key}"),
    ("/v1?key=short", "{api_key}"),
    ("/v1?access_token=abc", "{api_key}"),
    ("/v1/{x|nothing}", "unknown transformation"),
    ("/v1/{x|keepSlashes|lower}", "last"),
    ("/v1?a={x|keepSlashes}", "only in the endpoint's path"),
]


@pytest.mark.parametrize(("endpoint", "told"), ENDPOINTS)
def test_an_endpoint_that_cannot_be_trusted_is_refused(endpoint: Any, told: str) -> None:
    assert told in faults({"endpoint": endpoint})["endpoint"]


@pytest.mark.parametrize(
    "endpoint",
    [
        "/v1/{model}:go",
        "https://host.example",
        "http://127.0.0.1:11434/api/chat",
        "/v1?key={api_key}&a={x}&b=1",
        "/v1/{x|lower|keepSlashes}",
        "/v1/%7Ba%7D",
    ],
)
def test_a_usual_endpoint_is_taken(endpoint: str) -> None:
    assert faults({"endpoint": endpoint}) == {}


@pytest.mark.parametrize("method", ["FETCH", "", 1, "GET POST"])
def test_a_method_must_be_one(method: Any) -> None:
    assert "POST, GET" in faults({"method": method})["method"]


def test_a_get_with_a_body_says_where_to_put_it() -> None:
    assert "query" in faults({"method": "GET"})["body"]


SECRETS = [
    ("Authorization", "Bearer abcdefghijklmnop1234"),
    ("Authorization", "{token}"),
    ("authorization", "Basic dXNlcjpwYXNz"),
    ("x-api-key", "abc"),
    ("Api-Key", ""),
    ("xi-api-key", "{key}"),
    ("x-goog-api-key", "AIzaSyA-1234567890abcdefghij"),
    ("X-Custom", "sk-abcdefghijklmnopqrstuv"),
    ("X-Custom", "sk-proj-1a2b3c4d5e"),
    ("X-Custom", "Bearer abcdefghijklmnopqrstu"),
    ("X-Custom", "AIzaSyA-1234567890abcdefghij"),
    ("X-Custom", "gsk_12345678901234567890"),
]


@pytest.mark.parametrize(("name", "value"), SECRETS)
def test_a_key_written_into_a_header_is_refused(name: str, value: str) -> None:
    raw = {**GOOD, "headers": {name: value}}
    found = {fault.path: fault.message for fault in mapping_validate(raw)}
    assert "{api_key}" in found[f"headers.{name}"]
    assert value == "" or value not in str(found)


def test_a_key_written_anywhere_else_is_refused_too() -> None:
    key = "sk-abcdefghijklmnopqrstuv"
    found = faults({"body/k": f"use {key}", "defaults/k": key, "endpoint": f"/v1/{key}"})
    assert found.keys() == {"body.k", "defaults.k", "endpoint"}
    assert key not in str(found)


@pytest.mark.parametrize(
    "text", ["task-oriented-assistants-everywhere", "The key responsibilities are", "desk-1"]
)
def test_prose_is_not_taken_for_a_key(text: str) -> None:
    assert faults({"body/system": text}) == {}


def test_the_api_key_belongs_in_headers_and_the_query_alone() -> None:
    found = faults(
        {"body/a": {"b": ["{api_key}"]}, "headers/X-A": "{api_key|lower}", "defaults/api_key": "x"}
    )
    assert "only in headers" in found["body.a.b[0]"]
    assert "no transformation" in found["headers.X-A"]
    assert "defaults.api_key" in found


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("X A", "1", "no header name"),
        ("X-A:", "1", "no header name"),
        ("Host", "evil.example", "HTTP client"),
        ("content-length", "5", "HTTP client"),
        ("Transfer-Encoding", "chunked", "HTTP client"),
        ("X-A", "a\r\nb", "line breaks"),
        ("X-A", "é", "ASCII"),
        ("X-A", ["a"], "must be text"),
        ("Content-Type", "multipart/form-data", "JSON"),
        ("authorization", "Bearer {api_key}", "twice"),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused(name: str, value: Any, told: str) -> None:
    assert told in faults({f"headers/{name}": value})[f"headers.{name}"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{x:number}", "use int, float, bool, array, json"),
        ("{x:}", "unknown conversion"),
        ("{x:int|lower}", "stands last"),
        ("{x|}", "unknown transformation ''"),
        ("{x|nope}", "aspectToSize"),
        ("{x|lower|nope:int}", "'nope'"),
        ("as {format:yaml}", "{{format:yaml}}"),
        ("{x|keepSlashes}", "endpoint's path"),
    ],
)
def test_a_placeholder_that_cannot_be_read_is_refused(text: str, told: str) -> None:
    assert told in faults({"body/deep": [{"x": text}]})["body.deep[0].x"]


def test_placeholders_do_not_stand_in_names() -> None:
    assert "not in names" in faults({"body/{x}": 1})["body.{x}"]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"a": 1, "a.b": 2}, "body.a"),
        ({"a.b": 1, "a": 2}, "body.a"),
        ({"a": {"b": 1}, "a.b": 2}, "body.a.b"),
        ({"a.b": {"c": 1}, "a.b.c": 2}, "body.a.b.c"),
        ({"x": [{"a": 1, "a.b": 2}]}, "body.x[0].a"),
    ],
)
def test_a_dotted_name_that_sets_what_is_set_is_refused(body: Any, path: str) -> None:
    assert "twice" in faults({"body": body})[path]


@pytest.mark.parametrize("key", ["a..b", ".a", "a.", ""])
def test_an_empty_name_is_refused(key: str) -> None:
    assert "empty name" in faults({f"body/{key}": 1})[f"body.{key}"]


@pytest.mark.parametrize("body", ["text", 5, True])
def test_a_body_must_be_an_object_or_a_list(body: Any) -> None:
    assert "object or list" in faults({"body": body})["body"]


def test_an_endless_body_is_refused_without_breaking() -> None:
    deep: Any = "{x}"
    for _ in range(200):
        deep = {"a": deep}
    found = faults({"body": deep, "response_mapping/stream": {**STREAM, "body": deep}})
    assert any("levels deep" in message for message in found.values())
    assert "levels deep" in faults({"body": {".".join("a" * 5_000): 1}})["body." + ".".join("a" * 5_000)]


@pytest.mark.parametrize(
    ("table", "told"), [({}, "table"), ("lower", "table"), ([1], "table"), (None, "table"), (5, "table")]
)
def test_a_transformation_must_be_a_table(table: Any, told: str) -> None:
    assert told in faults({"transformations/t": table})["transformations.t"]


@pytest.mark.parametrize("name", ["two words", "1st", "", "keepSlashes"])
def test_a_table_needs_a_usable_name(name: str) -> None:
    assert "another name" in faults({f"transformations/{name}": {"a": "b"}})[f"transformations.{name}"]


def test_a_default_its_own_placeholder_refuses_is_found_at_save() -> None:
    found = faults(
        {
            "defaults": {"ratio": "7:5", "n": "many", "fine": "16:9"},
            "body/r": "{ratio|aspectToSize}",
            "body/n": "{n:int}",
            "body/f": "{fine|aspectToSize}",
        }
    )
    assert found.keys() == {"defaults.ratio", "defaults.n"}
    assert "16:9" in found["defaults.ratio"]


def test_a_bad_default_of_many_fields_is_told_once() -> None:
    raw = {**GOOD, "body": {"a": "{n:int}", "b": ["{n:int}"]}, "defaults": {"n": "many"}}
    assert [fault.path for fault in mapping_validate(raw)] == ["defaults.n"]


def test_a_placeholder_in_a_default_is_refused() -> None:
    assert "not replaced" in faults({"defaults/a": "{b}"})["defaults.a"]


@pytest.mark.parametrize("section", ["headers", "defaults", "transformations", "response_mapping"])
def test_a_section_must_be_an_object(section: str) -> None:
    assert faults({section: ["a"]})[section] == "must be a JSON object"


@pytest.mark.parametrize("raw", [None, [], "text", 5])
def test_a_mapping_must_be_an_object(raw: Any) -> None:
    assert [fault.path for fault in mapping_validate(raw)] == [""]


def test_an_unknown_key_is_named_with_the_known_ones() -> None:
    found = faults({"respnse_mapping": {}})
    assert "response_mapping" in found["respnse_mapping"]


# --- the response -------------------------------------------------------------------------------------------


def test_a_mapping_must_say_where_the_answer_is() -> None:
    assert "is needed" in faults({"response_mapping": {}})["response_mapping"]


@pytest.mark.parametrize(
    ("keys", "path", "told"),
    [
        ({"text": "answer"}, "text", "begins with $"),
        ({"image_url": "$.data.0.url"}, "image_url", "[0]"),
        ({"content_type": "audio/mpeg"}, "content_type", "begins with $"),
        ({"usage": {"input_tokens": "usage.in"}}, "usage.input_tokens", "begins with $"),
        ({"usage": {"tokens": "$.n"}}, "usage.tokens", "input_tokens"),
        ({"usage": "$.usage"}, "usage", "object of paths"),
        ({"usage": {"total_tokens": "$.n"}}, "usage.total_tokens", "priced"),
        ({"error": 5}, "error", "begins with $"),
        ({"media": {"from": "file", "path": "$.x"}}, "media.from", "url, base64, bytes"),
        ({"media": {"path": "$.x"}}, "media.from", "url, base64, bytes"),
        ({"media": {"from": "url"}}, "media.path", "is needed"),
        ({"media": {"from": "base64", "path": "x"}}, "media.path", "begins with $"),
        ({"media": {"from": "bytes", "path": "$.x"}}, "media.path", "left out"),
        ({"media": {"from": "url", "path": "$.x", "with_key": "yes"}}, "media.with_key", "true or false"),
        ({"media": {"from": "url", "path": "$.x", "size": "$.y"}}, "media.size", "not known"),
        ({"media": "$.x"}, "media", "object"),
        ({"stream": "$.x"}, "stream", "object"),
        ({"stream": {"done": "[DONE]"}}, "stream.text", "is needed"),
        ({"stream": {**STREAM, "text": "delta"}}, "stream.text", "begins with $"),
        ({"stream": {"text": "$.t"}}, "stream.done", "finish_reason"),
        ({"stream": {**STREAM, "done": True}}, "stream.done", "[DONE]"),
        ({"stream": {**STREAM, "done": "$.["}}, "stream.done", "not a JSONPath"),
        ({"stream": {**STREAM, "format": "xml"}}, "stream.format", "sse, ndjson"),
        ({"stream": {**STREAM, "body": [1]}}, "stream.body", "object"),
        ({"stream": {**STREAM, "body": {"a": "{api_key}"}}}, "stream.body.a", "only in headers"),
        ({"stream": {**STREAM, "endpoint": "v1"}}, "stream.endpoint", "begin with one /"),
        ({"stream": {**STREAM, "deltas": "$.x"}}, "stream.deltas", "not known"),
        ({"poll": {**POLL, "job_id": None}}, "poll.job_id", "is needed"),
        ({"poll": {**POLL, "endpoint": "/jobs"}}, "poll.endpoint", "{job_id}"),
        ({"poll": {**POLL, "endpoint": "https://{job_id}/x"}}, "poll.endpoint", "host must be written out"),
        ({"poll": {**POLL, "method": "LOOK"}}, "poll.method", "must be one of"),
        ({"poll": {**POLL, "status": None}}, "poll.status", "is needed"),
        ({"poll": {**POLL, "succeeded": "ok"}}, "poll.succeeded", "list"),
        ({"poll": {**POLL, "succeeded": []}}, "poll.succeeded", "list"),
        ({"poll": {**POLL, "failed": [{}]}}, "poll.failed", "list"),
        ({"poll": {**POLL, "failed": None}}, "poll.failed", "list"),
        ({"poll": {**POLL, "interval_s": 0}}, "poll.interval_s", "between 0.5 and 300"),
        ({"poll": {**POLL, "interval_s": 3600}}, "poll.interval_s", "between 0.5 and 300"),
        ({"poll": {**POLL, "interval_s": "2"}}, "poll.interval_s", "between 0.5 and 300"),
        ({"poll": {**POLL, "progress": "percent"}}, "poll.progress", "begins with $"),
        ({"poll": {**POLL, "headers": {"x-api-key": "abc"}}}, "poll.headers.x-api-key", "{api_key}"),
    ],
)
def test_a_fault_in_the_response_is_named_where_it_is(keys: dict[str, Any], path: str, told: str) -> None:
    found = faults(answers(**keys))
    assert told in found[f"response_mapping.{path}"]
    assert len(found) == 1


def test_a_poll_that_maps_an_error_needs_no_words_for_failure() -> None:
    poll = {key: value for key, value in POLL.items() if key != "failed"}
    assert faults(answers(poll={**poll, "error": "$.error"})) == {}


def test_a_section_in_both_places_is_refused() -> None:
    assert "twice" in faults({"response_mapping/stream": STREAM, "stream": STREAM})["stream"]


def test_a_fault_of_the_main_request_is_not_repeated_for_its_stream() -> None:
    assert faults({"body/x": "{x:nope}", "response_mapping/stream": STREAM}).keys() == {"body.x"}


# --- capabilities -------------------------------------------------------------------------------------------


def test_a_text_model_must_send_the_prompt_and_find_the_text() -> None:
    found = faults({"body": {"q": "fixed"}, "response_mapping": {"model": "$.m"}}, capabilities=["text"])
    assert found.keys() == {"body", "response_mapping.text"}
    assert faults({}, capabilities=["text"]) == {}


@pytest.mark.parametrize("capability", ["image", "video", "audio"])
def test_a_media_model_must_find_the_file(capability: str) -> None:
    assert faults({}, capabilities=[capability]).keys() == {"response_mapping.media"}
    assert faults(answers(image_url="$.u"), capabilities=[capability]) == {}


# --- all of them at once ------------------------------------------------------------------------------------


def test_every_fault_is_told_at_once() -> None:
    found = faults(
        {
            "endpoint": "nowhere",
            "method": "LOOK",
            "headers/x-api-key": "abc",
            "body/a": "{x|nope}",
            "body/b": "{api_key}",
            "response_mapping/text": "answer",
            "transformations/t": 1,
        }
    )
    assert found.keys() == {
        "endpoint",
        "method",
        "headers.x-api-key",
        "body.a",
        "body.b",
        "response_mapping.text",
        "transformations.t",
    }


def test_compiling_a_faulty_mapping_raises_with_every_fault() -> None:
    with pytest.raises(MappingInvalid) as caught:
        mapping_compile({"endpoint": "x", "response_mapping": {}})
    assert [fault.path for fault in caught.value.faults] == ["endpoint", "response_mapping"]
    assert "endpoint: must begin" in str(caught.value)
