"""Filling a mapping: what goes out for which values."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from apps.core.errors import InvalidRequest, MissingApiKey, ServiceUnavailable
from apps.providers.mapping import mapping_compile, mapping_fill
from tests.providers import mappings

BASE = "https://api.acme.example"


def fill(
    raw: dict[str, Any],
    values: dict[str, Any] | None = None,
    *,
    api_key: str = "secret-key",
    base_url: str = BASE,
    stream: bool = False,
    headers: tuple[tuple[str, str], ...] = (),
) -> httpx.Request:
    whole = {"endpoint": "/v1/go", "response_mapping": {"text": "$.text"}} | raw
    return mapping_fill(
        mapping_compile(whole),
        values or {},
        api_key=api_key,
        base_url=base_url,
        stream=stream,
        headers=headers,
    )


def body_of(body: Any, values: dict[str, Any] | None = None, **rest: Any) -> Any:
    return json.loads(fill({"body": body, **rest}, values).content)


def fields_of(error: InvalidRequest) -> dict[str, list[str]]:
    return dict(error.details["fields"])


# --- placeholders in the body -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.7, 3, True, False, "", "text", ["a", 1], {"a": {"b": 1}}, 0])
def test_a_lone_placeholder_keeps_the_type(value: Any) -> None:
    assert body_of({"x": "{x}"}, {"x": value}) == {"x": value}


_json_values = st.recursive(
    st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(_json_values)
def test_any_json_value_arrives_as_it_was_given(value: Any) -> None:
    sent = body_of({"x": "{x}", "deep": [{"y": "{x}"}]}, {"x": value})
    assert sent == {"x": value, "deep": [{"y": value}]}
    assert type(sent["x"]) is type(value)


@pytest.mark.parametrize(
    ("value", "text"), [("b", "a b c"), (2, "a 2 c"), (0.5, "a 0.5 c"), (True, "a true c"), ([1], "a [1] c")]
)
def test_a_placeholder_within_text_becomes_text(value: Any, text: str) -> None:
    assert body_of({"x": "a {x} c"}, {"x": value}) == {"x": text}


def test_values_are_not_scanned_for_placeholders_again() -> None:
    assert body_of({"x": "{a}", "y": "-{a}-"}, {"a": "{b}", "b": "no"}) == {"x": "{b}", "y": "-{b}-"}


def test_a_field_without_value_or_default_is_left_out_with_what_it_empties() -> None:
    body = {
        "keep": 1,
        "gone": "{x}",
        "also_gone": "with {x} inside",
        "config": {"inner": {"style": "{x}"}},
        "list": ["{x}", {"y": "{x}"}],
        "half": ["{x}", "stays"],
    }
    assert body_of(body) == {"keep": 1, "half": ["stays"]}


def test_null_counts_as_no_value() -> None:
    assert body_of({"a": 1, "x": "{x}"}, {"x": None}) == {"a": 1}


def test_an_empty_object_written_in_the_mapping_stays() -> None:
    assert body_of({"a": {}, "b": [], "c": {"d": {}}}) == {"a": {}, "b": [], "c": {"d": {}}}


def test_a_body_emptied_altogether_is_an_empty_object() -> None:
    assert fill({"body": {"x": "{x}"}}).content == b"{}"


def test_a_default_stands_in_for_a_missing_value_only() -> None:
    raw = {"defaults": {"n": 1, "flag": False, "style": ""}}
    body = {"n": "{n}", "flag": "{flag}", "style": "{style}"}
    assert body_of(body, **raw) == {"n": 1, "flag": False, "style": ""}
    assert body_of(body, {"n": 0, "flag": True, "style": "x"}, **raw) == {"n": 0, "flag": True, "style": "x"}


def test_the_older_name_user_text_means_text() -> None:
    assert body_of({"t": "{user_text}"}, {"text": "hello"}) == {"t": "hello"}
    assert body_of({"t": "{user_text}"}, defaults={"user_text": "hi"}) == {"t": "hi"}


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("{{x}}", "{x}"),
        ("say {{x}} for {x}", "say {x} for V"),
        ('{"a":1}', '{"a":1}'),
        ('{"a":{"b":{}}}', '{"a":{"b":{}}}'),
        ('{"q":"{x}"}', '{"q":"V"}'),
        ("{ x }", "{ x }"),
        ("{}", "{}"),
        ("{{", "{{"),
        ("f(a){return 1}", "f(a){return 1}"),
        ("{1}", "{1}"),
        ("\\{x}", "\\V"),
    ],
)
def test_braces_that_are_no_placeholder_stay(text: str, sent: str) -> None:
    assert body_of({"t": text}, {"x": "V"}) == {"t": sent}


@given(
    st.lists(st.sampled_from(["{a}", "{b}", "{c}", "{a:int}", "-", "{", "}", "x"]), max_size=6).map("".join)
)
def test_no_placeholder_survives(text: str) -> None:
    assume("{{" not in text and "}}" not in text)
    sent = body_of({"t": text, "keep": 1}, {"a": 1})
    assert "{b}" not in sent.get("t", "") if isinstance(sent.get("t", ""), str) else True
    assert "{a" not in str(sent.get("t", ""))


# --- conversions and transformations ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("placeholder", "value", "sent"),
    [
        ("{x:int}", "8", 8),
        ("{x:int}", " -3 ", -3),
        ("{x:int}", 8.0, 8),
        ("{x:float}", "0.25", 0.25),
        ("{x:float}", 2, 2.0),
        ("{x:bool}", "True", True),
        ("{x:bool}", "0", False),
        ("{x:bool}", 1, True),
        ("{x:array}", "a, b,,c", ["a", "b", "c"]),
        ("{x:array}", '["a", 1]', ["a", 1]),
        ("{x:array}", ["a"], ["a"]),
        ("{x:array}", 5, [5]),
        ("{x:json}", '{"a": [1]}', {"a": [1]}),
        ("{x:json}", {"a": 1}, {"a": 1}),
        ("{x|aspectToSize}", "16:9", "1792x1024"),
        ("{x|aspectToSize}", "640x480", "640x480"),
        ("{x|sizeToAspect}", "1792x1024", "16:9"),
        ("{x|sizeToAspect}", "1:1", "1:1"),
        ("{x|aspectToIdeogram}", "16:9", "ASPECT_16_9"),
        ("{x|aspectToIdeogram}", "ASPECT_3_4", "ASPECT_3_4"),
        ("{x|aspectToX}", "16:9", "16x9"),
        ("{x|secondsToString}", "8", "8s"),
        ("{x|secondsToString}", 8, "8s"),
        ("{x|secondsToString}", "2.5s", "2.5s"),
        ("{x|secondsToNumber}", "8s", 8),
        ("{x|secondsToNumber}", "2.5 s", 2.5),
        ("{x|lower}", "ABC", "abc"),
        ("{x|upper}", "abc", "ABC"),
        ("{x|trim|upper}", " abc ", "ABC"),
        ("{x|toString}", 5, "5"),
        ("{x|toString:int}", 5, 5),
        ("{x|joinCommas}", ["a", "b"], "a, b"),
        ("{x|first}", ["a", "b"], "a"),
        ("{x|stripDataUrl}", "data:image/png;base64,AAAA", "AAAA"),
        ("{x|stripDataUrl}", "AAAA", "AAAA"),
        ("{x|secondsToString|upper}", 8, "8S"),
        ("n={x:int}", "8", "n=8"),
    ],
)
def test_a_value_is_converted_as_asked(placeholder: str, value: Any, sent: Any) -> None:
    received = body_of({"x": placeholder}, {"x": value})["x"]
    assert received == sent
    assert type(received) is type(sent)


@pytest.mark.parametrize(
    ("placeholder", "value", "told"),
    [
        ("{x:int}", "8s", "whole number"),
        ("{x:int}", 8.5, "whole number"),
        ("{x:int}", True, "whole number"),
        ("{x:int}", "9" * 30, "whole number"),
        ("{x:float}", "many", "number"),
        ("{x:float}", "nan", "number"),
        ("{x:float}", "inf", "number"),
        ("{x:float}", True, "number"),
        ("{x:float}", [], "number"),
        ("{x:bool}", "perhaps", "true or false"),
        ("{x:bool}", 2, "true or false"),
        ("{x:json}", "{", "JSON"),
        ("{x:array}", "[1,", "JSON"),
        ("{x|aspectToSize}", "7:5", "16:9"),
        ("{x|aspectToIdeogram}", "21:9", "10:16"),
        ("{x|aspectToX}", "wide", "ratio"),
        ("{x|sizeToAspect}", "big", "1024x1024"),
        ("{x|secondsToNumber}", "soon", "seconds"),
        ("{x|messagesToContents}", "hello", "messages"),
    ],
)
def test_a_value_that_cannot_be_converted_names_its_option(placeholder: str, value: Any, told: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        body_of({"x": placeholder}, {"x": value})
    assert told in fields_of(caught.value)["options.x"][0]


def test_a_long_value_is_not_quoted_whole() -> None:
    with pytest.raises(InvalidRequest) as caught:
        body_of({"x": "{x:int}"}, {"x": "z" * 10_000})
    assert len(caught.value.message) < 120


def test_a_request_field_is_named_without_options() -> None:
    with pytest.raises(InvalidRequest) as caught:
        body_of({"x": "{prompt:int}"}, {"prompt": "words"})
    assert list(fields_of(caught.value)) == ["prompt"]


TABLE = {"transformations": {"quality": {"standard": "low", "hd": 4, "none": None}}}


def test_a_table_gives_its_value_with_its_type() -> None:
    assert body_of({"q": "{q|quality}"}, {"q": "hd"}, **TABLE) == {"q": 4}
    assert body_of({"q": "{q|quality:int}"}, {"q": "hd"}, **TABLE) == {"q": 4}


def test_a_null_in_a_table_leaves_the_field_out() -> None:
    assert body_of({"a": 1, "q": "{q|quality}"}, {"q": "none"}, **TABLE) == {"a": 1}


def test_a_value_missing_from_a_table_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(InvalidRequest) as caught:
        body_of({"q": "{q|quality}"}, {"q": "ultra"}, **TABLE)
    assert fields_of(caught.value)["options.q"] == ["must be one of standard, hd, none, not 'ultra'"]


@pytest.mark.parametrize("rest", ["*", "default"])
def test_a_table_may_have_an_answer_for_the_rest(rest: str) -> None:
    table = {"transformations": {"t": {"a": "A", rest: "other"}}}
    assert body_of({"q": "{q|t}"}, {"q": "zzz"}, **table) == {"q": "other"}
    assert body_of({"q": "{q|t}"}, {"q": "a"}, **table) == {"q": "A"}


def test_a_table_comes_before_the_built_in_of_its_name() -> None:
    table = {"transformations": {"aspectToSize": {"16:9": "wide"}}}
    assert body_of({"s": "{r|aspectToSize}"}, {"r": "16:9"}, **table) == {"s": "wide"}


def test_a_table_looks_up_numbers_and_booleans_by_their_json_text() -> None:
    table = {"transformations": {"t": {"1": "one", "true": "yes"}}}
    assert body_of({"a": "{a|t}", "b": "{b|t}"}, {"a": 1, "b": True}, **table) == {"a": "one", "b": "yes"}


def test_a_default_is_transformed_like_a_value() -> None:
    assert body_of({"s": "{r|aspectToSize}"}, defaults={"r": "16:9"}) == {"s": "1792x1024"}


# --- dotted keys --------------------------------------------------------------------------------------------


def test_dotted_names_nest_and_merge_with_their_siblings() -> None:
    body = {
        "config": {"a": 1, "deep": {"x": 1}},
        "config.style": "{s}",
        "config.deep.y": 2,
        "q.r.s": "{none}",
    }
    assert body_of(body, {"s": "v"}) == {"config": {"a": 1, "deep": {"x": 1, "y": 2}, "style": "v"}}


def test_dotted_names_nest_inside_lists_and_objects() -> None:
    assert body_of({"l": [{"a.b": 1, "a.c": 2}]}) == {"l": [{"a": {"b": 1, "c": 2}}]}


def test_an_escaped_dot_is_part_of_the_name() -> None:
    assert body_of({"a\\.b": 1, "c.d\\.e": 2}) == {"a.b": 1, "c": {"d.e": 2}}


# --- address ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "base_url", "url"),
    [
        ("/v1/go", BASE, f"{BASE}/v1/go"),
        ("/v1/go", f"{BASE}/prefix/", f"{BASE}/prefix/v1/go"),
        ("https://maker.example/v1/go", "", "https://maker.example/v1/go"),
        ("HTTPS://Maker.example:8443/v1", "", "https://maker.example:8443/v1"),
        ("http://[::1]:11434/api", "", "http://[::1]:11434/api"),
        # The sandbox and an instance's own server take the place of the maker's host.
        ("https://maker.example/v1/go", "http://box:8000/acme", "http://box:8000/acme/v1/go"),
    ],
)
def test_an_endpoint_is_joined_to_its_base(endpoint: str, base_url: str, url: str) -> None:
    assert str(fill({"endpoint": endpoint, "body": {}}, base_url=base_url).url) == url


def test_a_relative_endpoint_without_a_base_says_what_to_configure() -> None:
    with pytest.raises(ServiceUnavailable, match="base_url"):
        fill({"endpoint": "/v1/go"}, base_url="")


def test_a_base_that_is_no_url_is_said() -> None:
    with pytest.raises(ServiceUnavailable, match="not a URL"):
        fill({"endpoint": "/v1/go"}, base_url="http://box:port")


@pytest.mark.parametrize("value", ["../admin", "a/b", "a?x=1", "a#b", "a%2Fb", "ä ö", "x\r\ny", ";", "a\\b"])
def test_a_value_stays_one_segment_of_the_path(value: str) -> None:
    request = fill({"endpoint": "/v1/voices/{voice_id}/speak?a=1"}, {"voice_id": value})
    segments = request.url.raw_path.decode().partition("?")[0].split("/")
    assert len(segments) == 5
    assert unquote(segments[3]) == value
    assert request.url.query == b"a=1"


@pytest.mark.parametrize("value", [".", ".."])
def test_a_value_cannot_climb_the_path(value: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        fill({"endpoint": "/v1/{x}/go"}, {"x": value})
    assert list(fields_of(caught.value)) == ["options.x"]
    with pytest.raises(InvalidRequest):
        fill({"endpoint": "/v1/{x}{y}"}, {"x": ".", "y": "."})
    with pytest.raises(InvalidRequest):
        fill({"endpoint": "/v1/{x|keepSlashes}"}, {"x": f"a/{value}/b"})


@given(st.text(min_size=1))
def test_no_value_changes_the_host_or_the_query(value: str) -> None:
    try:
        request = fill({"endpoint": "https://maker.example/v1/{x}?q={y}&z=1"}, {"x": value, "y": value})
    except InvalidRequest:
        return
    assert request.url.host == "api.acme.example"
    assert request.url.params["q"] == value
    assert request.url.params["z"] == "1"
    assert len(request.url.params) == 2


def test_slashes_can_be_kept_on_request() -> None:
    request = fill({"endpoint": "/v1/{job|keepSlashes}"}, {"job": "models/a b/op?1"})
    assert request.url.raw_path == b"/v1/models/a%20b/op%3F1"


@pytest.mark.parametrize("value", [None, ""])
def test_a_value_missing_from_the_path_is_named(value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        fill({"endpoint": "/v1/{voice_id}/{x}"}, {"voice_id": value, "x": "1"})
    assert list(fields_of(caught.value)) == ["voice_id"]


def test_a_parameter_without_value_is_dropped() -> None:
    raw = {"endpoint": "/v1/go?a={a}&b={b}&c=1&d=x{b}"}
    assert fill(raw, {"a": "1 &2"}).url.query == b"a=1%20%262&c=1"
    assert fill({"endpoint": "/v1/go?b={b}"}).url.query == b""


def test_the_key_goes_into_the_query_where_the_mapping_wants_it() -> None:
    assert fill({"endpoint": "/v1?key={api_key}"}, api_key="a&b").url.params["key"] == "a&b"


def test_an_endless_address_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="too long"):
        fill({"endpoint": "/v1/{x}"}, {"x": "a" * 100_000})


# --- headers ------------------------------------------------------------------------------------------------


def test_headers_are_filled_and_an_unfilled_one_left_out() -> None:
    raw = {"headers": {"Authorization": "Bearer {api_key}", "X-Tier": "{tier}", "X-N": "{n}"}, "body": {}}
    headers = fill(raw, {"n": 5}).headers
    assert headers["authorization"] == "Bearer secret-key"
    assert headers["x-n"] == "5"
    assert "x-tier" not in headers
    assert headers["content-type"] == "application/json"
    assert headers["host"] == "api.acme.example"
    assert headers["content-length"] == "2"


def test_without_a_key_its_header_is_left_out() -> None:
    raw = {"headers": {"Authorization": "Bearer {api_key}"}}
    assert "authorization" not in fill(raw, api_key="").headers


def test_an_option_called_api_key_is_not_the_key() -> None:
    raw = {"headers": {"Authorization": "Bearer {api_key}"}}
    assert fill(raw, {"api_key": "stolen"}).headers["authorization"] == "Bearer secret-key"


@given(st.text(min_size=1))
def test_no_value_ends_a_header_line(value: str) -> None:
    try:
        request = fill({"headers": {"X-A": "{x}", "X-B": "b"}}, {"x": value})
    except InvalidRequest:
        return
    assert set(request.headers) == {"host", "x-a", "x-b", "content-length"}
    assert set(request.headers["x-a"]).isdisjoint("\r\n\0")


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "é", "\x7f"])
def test_a_header_value_that_is_no_header_text_is_refused(value: str) -> None:
    with pytest.raises(InvalidRequest, match="X-A"):
        fill({"headers": {"X-A": "{x}"}}, {"x": value})
    with pytest.raises(InvalidRequest, match="X-A"):
        fill({}, headers=(("X-A", value),))


def test_a_stored_key_with_a_line_break_is_not_quoted() -> None:
    with pytest.raises(MissingApiKey) as caught:
        fill({"headers": {"Authorization": "Bearer {api_key}"}}, api_key="abc\ndef")
    assert "abc" not in caught.value.message


def test_further_headers_replace_those_of_the_mapping() -> None:
    request = fill({"headers": {"X-A": "1"}}, headers=(("x-a", "2"), ("X-DE-Rehearse", "hang")))
    assert request.headers.get_list("X-A") == ["2"]
    assert request.headers["x-de-rehearse"] == "hang"


def test_a_request_without_body_has_no_content_type() -> None:
    request = fill({"method": "GET", "headers": {"Content-Type": "application/json", "X-A": "1"}})
    assert request.method == "GET"
    assert "content-type" not in request.headers
    assert request.content == b""


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", ["\ud800", ["\ud800"], _nested(100_000)], ids=range(3))
@pytest.mark.parametrize(
    "raw",
    [
        {"body": {"x": "{x}"}},
        {"body": {"x": "a {x}"}},
        {"endpoint": "/v1/{x}"},
        {"endpoint": "/v1?x={x}"},
        {"headers": {"X-A": "{x}"}},
    ],
)
def test_a_value_that_cannot_be_written_is_a_bad_request(raw: dict[str, Any], value: Any) -> None:
    with pytest.raises(InvalidRequest):
        fill(raw, {"x": value})


# --- streams and polls --------------------------------------------------------------------------------------

STREAMED = {
    "body": {"a": {"b": 1}, "stream": False},
    "headers": {"X-A": "1"},
    "response_mapping": {
        "text": "$.t",
        "stream": {"body": {"stream": True, "a.c": "{c}"}, "text": "$.t", "done": "[DONE]"},
    },
}


def test_the_streams_body_is_laid_over_the_other() -> None:
    assert json.loads(fill(STREAMED, {"c": 2}).content) == {"a": {"b": 1}, "stream": False}
    request = fill(STREAMED, {"c": 2}, stream=True)
    assert json.loads(request.content) == {"a": {"b": 1, "c": 2}, "stream": True}
    assert request.headers["x-a"] == "1"
    assert request.url.path == "/v1/go"


def test_a_stream_may_have_an_endpoint_of_its_own_on_the_same_host() -> None:
    request = mapping_fill(
        mapping_compile(mappings.GEMINI_GENERATE), {"model": "g"}, api_key="k", base_url="", stream=True
    )
    expected = "https://generativelanguage.googleapis.com/v1beta/models/g:streamGenerateContent?alt=sse"
    assert str(request.url) == expected


def test_a_stream_from_a_mapping_without_one_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        fill({}, stream=True)
    assert list(fields_of(caught.value)) == ["options.stream"]


def test_stream_and_poll_may_stand_beside_the_response_mapping() -> None:
    stream = STREAMED["response_mapping"]["stream"]  # type: ignore[index]
    compiled = mapping_compile({"endpoint": "/v1", "response_mapping": {"text": "$.t"}, "stream": stream})
    assert compiled.stream is not None


def test_a_poll_goes_to_the_same_host_with_the_same_key() -> None:
    poll = mapping_compile(mappings.VEO).poll
    assert poll is not None
    request = poll.request.fill({"job_id": "models/veo/operations/op1"}, api_key="k", base_url="")
    assert request.method == "GET"
    expected = "https://generativelanguage.googleapis.com/v1beta/models/veo/operations/op1"
    assert str(request.url) == expected
    assert request.headers["x-goog-api-key"] == "k"


def test_a_polls_own_headers_come_before_the_main_ones() -> None:
    poll = {
        "job_id": "$.id",
        "method": "POST",
        "endpoint": "/poll",
        "headers": {"x-a": "2"},
        "body": {"ids.one": "{job_id}"},
        "status": "$.s",
        "succeeded": ["ok"],
        "failed": ["no"],
    }
    raw = {"endpoint": "/v1", "headers": {"X-A": "1", "X-B": "1"}, "response_mapping": {"poll": poll}}
    compiled = mapping_compile(raw).poll
    assert compiled is not None
    request = compiled.request.fill({"job_id": "j1"}, api_key="k", base_url=BASE)
    assert request.headers.get_list("x-a") == ["2"]
    assert request.headers["x-b"] == "1"
    assert json.loads(request.content) == {"ids": {"one": "j1"}}


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ({"name": "op"}, "running"),
        ({"done": False}, "running"),
        ({"done": True, "response": {}}, "succeeded"),
        ({"done": True, "error": {"message": "no"}}, "failed"),
        ({"done": 1}, "running"),
    ],
)
def test_a_poll_tells_the_state(answer: dict[str, Any], state: str) -> None:
    poll = mapping_compile(mappings.VEO).poll
    assert poll is not None
    assert poll.state(answer) == state


def test_status_words_ignore_case_and_failed_needs_no_error_text() -> None:
    poll = {
        "job_id": "$.id",
        "endpoint": "/tasks/{job_id}",
        "interval_s": 2,
        "status": "$.state",
        "succeeded": ["done"],
        "failed": ["broken"],
    }
    compiled = mapping_compile({"endpoint": "/v1", "response_mapping": {"poll": poll}}).poll
    assert compiled is not None
    assert [compiled.state({"state": word}) for word in ("DONE", "Broken", "busy")] == [
        "succeeded",
        "failed",
        "running",
    ]
    assert compiled.interval_s == 2


# --- what a compiled mapping says of itself -----------------------------------------------------------------


def test_a_compiled_mapping_names_its_placeholders() -> None:
    compiled = mapping_compile(mappings.VEO)
    assert compiled.names == {"model", "user_prompt", "aspect_ratio", "duration", "size", "negative_prompt"}
    assert compiled.uses_api_key
    assert compiled.origin == "https://generativelanguage.googleapis.com"
    assert not mapping_compile(mappings.OLLAMA_CHAT).uses_api_key
    assert mapping_compile(mappings.OLLAMA_CHAT).origin is None


def test_a_compiled_mapping_names_every_host_it_calls() -> None:
    poll = {
        "job_id": "$.id",
        "endpoint": "https://jobs.example/{job_id}",
        "status": "$.s",
        "succeeded": [1],
        "failed": [2],
    }
    raw = {"endpoint": "https://maker.example/v1", "response_mapping": {"poll": poll}}
    assert mapping_compile(raw).origins == {"https://maker.example", "https://jobs.example"}
    assert mapping_compile(mappings.GEMINI_GENERATE).origins == {"https://generativelanguage.googleapis.com"}
    assert mapping_compile(mappings.OLLAMA_CHAT).origins == set()


def test_mappings_written_alike_are_equal() -> None:
    assert mapping_compile(mappings.VEO) == mapping_compile(dict(mappings.VEO))
    assert mapping_compile(mappings.VEO) != mapping_compile(mappings.OLLAMA_CHAT)


@pytest.mark.parametrize(
    ("key", "source"), [("image_url", "url"), ("audio_base64", "base64"), ("video_url", "url")]
)
def test_the_first_versions_media_keys_are_understood(key: str, source: str) -> None:
    media = mapping_compile({"endpoint": "/v1", "response_mapping": {key: "$.data[0].x"}}).media
    assert media is not None
    assert media.source == source
    assert media.path is not None
    assert media.path.first({"data": [{"x": "here"}]}) == "here"


def test_other_response_keys_are_kept_for_whoever_knows_them() -> None:
    compiled = mapping_compile(mappings.IDEOGRAM_LEGACY)
    assert compiled.fields["resolution"].first({"data": [{"resolution": "1x1"}]}) == "1x1"
    assert compiled.media is not None
    answer = {"data": [{"url": None, "is_image_safe": False}, {"url": "u", "is_image_safe": True}]}
    assert compiled.media.path is not None
    assert compiled.media.path.all(answer) == ["u"]


# --- the makers ---------------------------------------------------------------------------------------------


def made(maker: str, values: dict[str, Any], **rest: Any) -> httpx.Request:
    compiled = mapping_compile(mappings.ALL[maker])
    return mapping_fill(compiled, values, **({"api_key": "k", "base_url": ""} | rest))


def test_ideogram_is_asked_in_its_own_words() -> None:
    request = made(
        "ideogram", {"user_prompt": "A sign", "aspect_ratio": "16:9", "style": "realistic", "seed": 5}
    )
    assert str(request.url) == "https://api.ideogram.ai/generate"
    assert request.headers["api-key"] == "k"
    assert json.loads(request.content) == {
        "image_request": {
            "prompt": "A sign",
            "model": "V_2",
            "aspect_ratio": "ASPECT_16_9",
            "style_type": "REALISTIC",
            "seed": 5,
            "magic_prompt_option": "AUTO",
        }
    }


def test_elevenlabs_gets_numbers_as_numbers_and_the_format_in_the_query() -> None:
    values = {"text": "Good morning.", "model": "m", "stability": "0.5", "use_speaker_boost": "true"}
    request = made("elevenlabs", values)
    expected = "/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM?output_format=mp3_44100_128"
    assert request.url.raw_path.decode() == expected
    assert json.loads(request.content) == {
        "text": "Good morning.",
        "model_id": "m",
        "voice_settings": {"stability": 0.5, "use_speaker_boost": True},
    }


def test_veo_gets_its_seconds_as_a_number() -> None:
    request = made("veo", {"model": "veo-3.1-generate-preview", "user_prompt": "Waves", "duration": "6s"})
    assert request.url.path == "/v1beta/models/veo-3.1-generate-preview:predictLongRunning"
    assert json.loads(request.content) == {
        "instances": [{"prompt": "Waves"}],
        "parameters": {"aspectRatio": "16:9", "durationSeconds": 6},
    }
