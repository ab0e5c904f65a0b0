from __future__ import annotations

import re
from random import Random
from typing import Any

import jsonschema
import pytest

from apps.sandbox.instances import instance
from apps.sandbox.patterns import string_matching
from apps.sandbox.schemas import schema_fault

TREE: dict[str, Any] = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "parent": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["name", "children", "parent"],
        }
    },
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "nothing said": {},
    "const": {"const": {"a": 1}},
    "enum of anything": {"enum": [1, None, "x", [2]]},
    "integer in a range": {"type": "integer", "minimum": 3, "maximum": 5},
    "integer between": {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
    "integer below zero": {"type": "integer", "maximum": -7},
    "multiples": {"type": "integer", "multipleOf": 7, "minimum": 8, "maximum": 20},
    "number in a range": {"type": "number", "minimum": 0, "maximum": 1},
    "number between": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5},
    "short text": {"type": "string", "maxLength": 4},
    "long text": {"type": "string", "minLength": 60, "maxLength": 70},
    "pattern": {"type": "string", "pattern": "^[A-Z]{3}-\\d{2,4}$"},
    "alternatives in a pattern": {"type": "string", "pattern": "^(red|green)(er)?$"},
    "email": {"type": "string", "format": "email"},
    "date-time": {"type": "string", "format": "date-time"},
    "uuid": {"type": "string", "format": "uuid"},
    "nullable": {"type": ["null", "boolean"]},
    "list of at least": {"type": "array", "items": {"type": "integer"}, "minItems": 4},
    "list of at most": {"type": "array", "items": {"type": "string"}, "maxItems": 1},
    "no list": {"type": "array", "maxItems": 0},
    "unlike things": {"type": "array", "items": {"type": "integer"}, "uniqueItems": True, "minItems": 5},
    "tuple": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
    "required without a shape": {"type": "object", "required": ["a", "b"]},
    "closed": {"type": "object", "properties": {"a": {}}, "additionalProperties": False, "required": ["a"]},
    "map": {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 3},
    "few properties": {
        "type": "object",
        "properties": {"a": {}, "b": {}, "c": {}},
        "required": ["c"],
        "maxProperties": 1,
    },
    "any of": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
    "any of, with company": {
        "type": "object",
        "properties": {"kind": {"const": "a"}},
        "required": ["kind"],
        "oneOf": [{"properties": {"x": {"type": "integer"}}, "required": ["x"]}, {"required": ["y"]}],
    },
    "all of": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"b": {"type": "boolean"}}, "required": ["b"]},
        ]
    },
    "definitions": {"$ref": "#/definitions/x", "definitions": {"x": {"type": "integer"}}},
    "tree": TREE,
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_instance_conforms_whatever_the_seed(name):
    schema = SCHEMAS[name]
    assert schema_fault(schema) is None
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    validator = jsonschema.Draft202012Validator(schema, format_checker=checker)
    for seed in range(20):
        validator.validate(instance(schema, Random(seed)))
    assert instance(schema, Random(1)) == instance(schema, Random(1))


def test_geminis_dialect_is_understood():
    schema = {
        "type": "OBJECT",
        "properties": {
            "b": {"type": "ARRAY", "items": {"type": "INTEGER"}, "minItems": "3"},
            "a": {"type": "STRING"},
        },
        "propertyOrdering": ["b", "a"],
    }
    made = instance(schema, Random(1))
    assert list(made) == ["b", "a"]
    assert len(made["b"]) == 3


@pytest.mark.parametrize(
    "pattern", [r"^\+\d{1,3} \d+$", r"[^a-z]x", r"^\w+@\w+\.com$", r"a|b", r"^(?:ab){2}$"]
)
def test_a_pattern_is_matched(pattern):
    assert re.search(pattern, string_matching(pattern, Random(1)))


def test_a_pattern_nobody_can_read_gives_nothing():
    assert string_matching("(", Random(1)) == ""


@pytest.mark.parametrize(
    "schema",
    [
        7,
        {"type": "text"},
        {"properties": []},
        {"required": "a"},
        {"enum": []},
        {"items": 3},
        {"anyOf": {}},
        {"minItems": -1},
        {"minimum": "3"},
        {"properties": {"a": {"$ref": 1}}},
    ],
)
def test_a_broken_schema_is_seen(schema):
    assert schema_fault(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {
            "type": "array",
            "items": {"type": "array", "items": {"type": "integer"}, "minItems": 10**6},
            "minItems": 10**6,
        },
        {"type": "object", "minProperties": 10**9},
        {"type": "string", "minLength": 10**12},
        {"type": "string", "pattern": "((a{1000}){1000}){1000}"},
    ],
    ids=["items", "properties", "text", "pattern"],
)
def test_a_greedy_schema_is_not_served_in_full(schema):
    assert len(str(instance(schema, Random(1)))) < 1_000_000
