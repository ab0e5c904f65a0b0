"""Serializer fields that take a value as it is or refuse it: "5" is not a number, 1 is not true, 7 is not text.

REST framework's own fields convert such things quietly, so a client's mistake would be stored as a guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from django.core.validators import RegexValidator
from drf_spectacular.extensions import OpenApiSerializerExtension, OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import Direction
from rest_framework import serializers

# What fits PostgreSQL's integer and no limit needs to be above.
MAX_WHOLE_NUMBER = 2_147_483_647
SHOWN_NAME_CHARACTERS = 80

PROVIDER_SHAPE = "Use 1 to 64 lower-case letters, digits, dashes and underscores."
SLUG_SHAPE = "Use 1 to 64 letters, digits, dots, dashes and underscores, starting with a letter or a digit."

_slug = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_provider = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def is_slug(text: str) -> bool:
    """Whether `text` could be an id of ours. Ask before the database: PostgreSQL can't even look for a NUL."""
    return _slug.fullmatch(text) is not None


def is_provider_id(text: str) -> bool:
    return _provider.fullmatch(text) is not None


class TextField(serializers.CharField):
    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class WholeNumberField(serializers.IntegerField):
    """1.0 is a whole number (in JSON Schema too), "1" and true are not."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int | float) or data != data // 1:
            self.fail("invalid")
        return super().to_internal_value(int(data))


class NumberField(serializers.FloatField):
    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        return super().to_internal_value(data)


class FlagField(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class ChoiceTextField(serializers.ChoiceField):
    """One of a few words, named when it is none of them."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str) or data not in self.choices:
            raise serializers.ValidationError(choice_fault(data, list(self.choices)))
        return data


def choice_fault(value: Any, allowed: list[Any]) -> str:
    return f"{shown(value)} is not one of {', '.join(map(str, allowed))}."


def shown(value: Any) -> str:
    """A value fit to be quoted in an error: short."""
    text = repr(value)
    return text if len(text) <= SHOWN_NAME_CHARACTERS else f"{text[:SHOWN_NAME_CHARACTERS]}…"


class PatternField(TextField):
    """Text of one shape. pattern: of the whole value; wants: the sentence for a value that is not of it."""

    def __init__(self, *, pattern: str, wants: str, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)
        self.validators.append(RegexValidator(rf"^{pattern}\Z", wants))


class SlugField(PatternField):
    """The shape of our ids, for new ones and for naming what exists."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(pattern=_slug.pattern, wants=SLUG_SHAPE, **kwargs)


class ProviderField(PatternField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(pattern=_provider.pattern, wants=PROVIDER_SHAPE, **kwargs)


class EmailTextField(serializers.EmailField):
    """In lower case, which is how addresses are stored and compared."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=254, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data).lower()


class ObjectField(serializers.Field):  # type: ignore[type-arg]  # not generic at run time
    """A JSON object, checked by a function that both the HTTP body and the service use.

    check: value -> {dotted name below the field ("" for the field itself): what is wrong}.
    schema: what OpenAPI says of it.
    """

    default_error_messages: ClassVar[dict[str, Any]] = {"object": "Must be a JSON object."}

    def __init__(
        self,
        *,
        check: Callable[[Any], Mapping[str, str]] | None = None,
        schema: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._check = check
        self.schema = {"type": "object"} | dict(schema or {"additionalProperties": {}})
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("object")
        faults = self._check(data) if self._check is not None else {}
        if faults:
            if "" in faults:
                raise serializers.ValidationError(faults[""])
            raise serializers.ValidationError({name: [text] for name, text in faults.items()})
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class ObjectFieldSchema(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]  # its __init_subclass__
    target_class = ObjectField

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        schema: dict[str, Any] = self.target.schema
        return schema


class InputSerializer(serializers.Serializer[Any]):
    """A request body: unknown names are refused, so that a misspelt field is noticed and not dropped.

    ignored: names a client may send back as it read them, which say nothing here. fixed: the same, but they name what
    this operation is about, so they must be as they are (pass the row as `instance`).
    """

    ignored: ClassVar[frozenset[str]] = frozenset()
    fixed: ClassVar[frozenset[str]] = frozenset()

    def to_internal_value(self, data: Any) -> Any:
        faults: dict[str, Any] = {}
        value: Any = None
        try:
            value = super().to_internal_value(data)
        except serializers.ValidationError as exc:
            if not isinstance(data, Mapping) or not isinstance(exc.detail, dict):
                raise
            faults |= exc.detail
        for name, sent in data.items():
            if name in self.fixed:
                if sent != getattr(self.instance, name):
                    faults[name] = ["This can't be changed."]
            elif name not in self.fields and name not in self.ignored:
                faults[name[:SHOWN_NAME_CHARACTERS]] = ["There is no such field here."]
        if faults:
            raise serializers.ValidationError(faults)
        return value


class InputSerializerSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]  # its __init_subclass__
    """Says in the schema what InputSerializer does: no other names than these."""

    target_class = InputSerializer
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        schema: dict[str, Any] = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)  # type: ignore[no-untyped-call]
        schema.pop("description", None)  # the docstring, which speaks to us
        as_read = {
            name: {"description": "As read; it changes nothing."} for name in sorted(self.target.ignored)
        }
        as_read |= {
            name: {"description": "As it is; can't be changed."} for name in sorted(self.target.fixed)
        }
        schema["properties"] = schema.get("properties", {}) | as_read
        return schema | {"additionalProperties": False}
