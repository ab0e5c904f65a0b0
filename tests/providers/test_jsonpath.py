from __future__ import annotations

import time
from typing import Any

import jsonpath as library
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.providers.jsonpath import MAX_LENGTH, compile_path

DOC: dict[str, Any] = {
    "data": [{"url": "a", "n": 1}, {"url": "b", "n": 2}, {"n": 3}],
    "odd name": {"x-y": 5, "déjà": "vu"},
    "none": None,
    "text": "abc",
    "items": {"p": 1, "q": 2},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", [DOC]),
        ("$.data[0].url", ["a"]),
        ("$.data[-1].n", [3]),
        ("$.data[2].url", []),
        ("$.data[3]", []),
        ("$.data[-4]", []),
        ("$.data[*].url", ["a", "b"]),
        ("$.data.*.n", [1, 2, 3]),
        ("$.items[*]", [1, 2]),
        ("$['odd name']['x-y']", [5]),
        ('$["odd name"].déjà', ["vu"]),
        ("$.none", [None]),
        ("$.none.deeper", []),
        ("$.text[0]", []),
        ("$.text[*]", []),
        ("$.data.url", []),
        ("$.items[0]", []),
        ("$..url", ["a", "b"]),
        ("$.data[?@.n > 1].n", [2, 3]),
        ("$.data[?@.url == 'b'].n", [2]),
        ("$.data[?!@.url].n", [3]),
        ("$.data[0:2].url", ["a", "b"]),
        ("$.items['p','q']", [1, 2]),
        ("$.data[?length(@.url) == 1].url", ["a", "b"]),
    ],
)
def test_a_path_finds_what_it_names(path: str, found: list[Any]) -> None:
    compiled = compile_path(path)
    assert compiled.all(DOC) == found
    assert compiled.first(DOC) == (found[0] if found else None)
    assert compiled.text == path


@pytest.mark.parametrize("document", ["[1, 2]", '{"a": 1}', 7, None, True, b"{}"])
@pytest.mark.parametrize("path", ["$.a", "$[0]", "$[*]", "$..a", "$[0,1]"])
def test_a_document_that_is_a_bare_value_has_no_children(path: str, document: Any) -> None:
    assert compile_path(path).all(document) == []


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "0"]), inner),
    max_leaves=12,
)
_path = st.lists(
    st.sampled_from([".a", ".b", "['0']", '["a"]', "[0]", "[1]", "[-1]", "[*]", ".*"]), max_size=5
).map(lambda pieces: "$" + "".join(pieces))


@given(_path, _json.filter(lambda value: isinstance(value, dict | list)))
def test_the_own_walk_agrees_with_the_library(path: str, document: Any) -> None:
    reference = library.JSONPathEnvironment(strict=True).findall(path, document)
    assert compile_path(path).all(document) == reference


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("data.url", "begins with $"),
        ("", "begins with $"),
        (None, "begins with $"),
        (["$.a"], "begins with $"),
        ("$.data.0.url", "[0]"),
        ("$.data[", "not a JSONPath"),
        ("$.data[?@.a ==]", "not a JSONPath"),
        ("$" + ".a" * MAX_LENGTH, "characters long"),
        ("$..a..b", "only once"),
        ("$['a','b']['a','b']", "only one bracket"),
        ("$[0,1,2,3,4,5,6,7,8]", "only one bracket"),
        ("$[?@.a][?@.b][?@.c][?@.d]", "at most 3 filters"),
        ("$[?@.a == $.b]", "not at $"),
        ("$[?@[?@.a]]", "another filter"),
        ("$[?@..a]", "inside a filter"),
        ("$[?count(@['a','b']) > 1]", "inside a filter"),
        ("$[?match(@.a, 'x')]", "switched off"),
        ("$[?search(@.a, '(a+)+$')]", "switched off"),
        ("$.a | $.b", "not a JSONPath"),
        ("$" + "[?(" * 40 + "@.a" + ")]" * 40, "not a JSONPath"),
    ],
)
def test_a_path_that_cannot_be_used_is_refused_with_a_reason(path: Any, hint: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        compile_path(path)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


def _nested(depth: int) -> Any:
    document: Any = {"a": 1}
    for _ in range(depth):
        document = [document]
    return document


def test_a_document_deeper_than_any_honest_one_finds_nothing() -> None:
    assert compile_path("$..a").all(_nested(10)) == [1]
    assert compile_path("$..a").all(_nested(500)) == []


def test_the_costliest_path_allowed_stays_linear() -> None:
    """A tenth of a second for forty thousand nodes would be usual; a quadratic path would take hours."""
    document = [{"a": [{"b": i}, {"b": -i}]} for i in range(5_000)]
    path = compile_path("$..[?@.b > 0]['b','c','d']")
    begun = time.perf_counter()
    assert len(path.all(document)) == 4_999
    assert time.perf_counter() - begun < 20


def test_a_path_may_find_only_so_much() -> None:
    assert len(compile_path("$..a").all([{"a": 1}] * 20_000)) == 10_000
