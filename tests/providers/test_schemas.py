from __future__ import annotations

from typing import Any

import pytest

from apps.providers.schemas import schema_closed


def test_objects_are_closed_all_the_way_down_and_limits_become_words():
    closed = schema_closed(
        {
            "type": "object",
            "properties": {
                "age": {"type": "integer", "minimum": 1, "description": "Years."},
                "tags": {
                    "type": "array",
                    "minItems": 2,
                    "items": {"type": "object", "properties": {"a": {}}},
                },
            },
            "required": ["age"],
        }
    )
    assert closed == {
        "type": "object",
        "properties": {
            "age": {"type": "integer", "description": 'Years. {"minimum":1}'},
            "tags": {
                "type": "array",
                "items": {"type": "object", "properties": {"a": {}}, "additionalProperties": False},
                "description": '{"minItems":2}',
            },
        },
        "required": ["age"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "string"}},
        {"type": "object", "properties": {"a": True}},
        {"oneOf": [{"type": "string"}]},
        {"type": "array", "items": {"type": "object"}},
    ],
)
def test_a_schema_that_would_mean_something_else_is_not_bent(schema: dict[str, Any]):
    assert schema_closed(schema) is None


def test_the_callers_schema_is_left_as_it_was():
    schema = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}}
    schema_closed(schema)
    assert schema == {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}}
