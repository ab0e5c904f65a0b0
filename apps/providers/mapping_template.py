"""The `{placeholder}` language: text and JSON trees compiled into functions that fill them.

A string is scanned for these, and everything else in it stays as it is, braces of JSON included:

    {name}   {name|transformation}   {name:conversion}   {name|one|two:conversion}
    {{name}}                                              the text "{name}" itself

Compiling gathers every fault it meets, so whoever saves a mapping sees them all at once.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from apps.core.errors import InvalidRequest
from apps.providers.mapping_secrets import looks_like_key
from apps.providers.transformations import BUILT_IN, CONVERSIONS, KEEP_SLASHES, Step, table_step, text_of

Values = Mapping[str, Any]
Fill = Callable[[Values], Any]  # returns MISSING for a field that is to be left out

API_KEY: Final = "api_key"
MAX_DEPTH: Final = 32
# The first version's speech rows said {user_text} where everything else says {text}.
_ALIASES: Final = {"user_text": "text"}
# Options are named options.x in a 400; these are fields of the request itself.
_REQUEST_FIELDS: Final = {
    "user_prompt": "prompt",
    "prompt": "prompt",
    "text": "text",
    "messages": "messages",
    "voice_id": "voice_id",
    "model": "model",
}


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final[Any] = _Missing()


# --- faults -------------------------------------------------------------------------------------------------


class Fault(msgspec.Struct, frozen=True):
    """path: where in the mapping, dotted, "body.image_request.model"; message: what is wrong and what to do."""

    path: str
    message: str


class Faults:
    """Collects what is wrong while the compiling goes on."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def add(self, path: str, message: str) -> None:
        fault = Fault(path, message)
        if fault not in self.found:  # one bad default may fill many fields
            self.found.append(fault)

    def is_object(self, raw: Any, at: str) -> bool:
        if not isinstance(raw, dict):
            self.add(at, "must be a JSON object")
        return isinstance(raw, dict)

    def object(self, raw: Any, at: str) -> dict[str, Any]:
        """raw if it is a JSON object; {} if it is absent, or something else and a fault."""
        return raw if raw is not None and self.is_object(raw, at) else {}

    def unknown_keys(self, raw: Mapping[str, Any], allowed: Sequence[str], at: str = "") -> None:
        for key in raw:
            if key not in allowed:
                self.add(f"{at}.{key}" if at else key, f"is not known here; use {', '.join(allowed)}")


# --- the context a mapping's strings are compiled in --------------------------------------------------------


class Scope:
    """What a mapping's placeholders may refer to: its transformations and its defaults."""

    def __init__(self, faults: Faults, transformations: Any = None, defaults: Any = None) -> None:
        self.faults = faults
        self.names: set[str] = set()  # every placeholder met, api_key too
        self._tables = _tables(faults.object(transformations, "transformations"), faults)
        self._defaults = _defaults(faults.object(defaults, "defaults"), faults)

    def step(self, name: str) -> Step | None:
        return self._tables.get(name) or BUILT_IN.get(name)

    def quiet(self) -> Scope:
        """The same, its faults thrown away: for parts that were checked already where they were written."""
        quiet = copy.copy(self)
        quiet.faults = Faults()
        return quiet

    @property
    def transformations(self) -> list[str]:
        return sorted(self._tables.keys() | BUILT_IN.keys())

    def default(self, name: str, steps: Sequence[Step]) -> Any:
        """The default as it will be sent, so that a default no step accepts is found at save."""
        value = self._defaults.get(name)
        if value is None:
            return MISSING
        try:
            return _run(value, steps)
        except ValueError as exc:
            self.faults.add(f"defaults.{name}", str(exc))
            return MISSING


def _tables(raw: Mapping[str, Any], faults: Faults) -> dict[str, Step]:
    tables: dict[str, Step] = {}
    for name, table in raw.items():
        at = f"transformations.{name}"
        if not _NAME.fullmatch(name) or name == KEEP_SLASHES:
            faults.add(at, "needs another name: letters, digits, _ and -, beginning with a letter")
        elif not isinstance(table, dict) or not table:
            faults.add(at, 'must be a table such as {"16:9": "wide", "*": "square"}')
        else:
            tables[name] = table_step(table)
    return tables


def _defaults(raw: Mapping[str, Any], faults: Faults) -> dict[str, Any]:
    for name, value in raw.items():
        at = f"defaults.{name}"
        text = value if isinstance(value, str) else ""
        if name == API_KEY or looks_like_key(text):
            faults.add(at, "keys are stored with the instance; write {api_key} where it goes in a header")
        elif _TOKEN.search(text):
            faults.add(at, "is a value as it will be sent; placeholders are not replaced in it")
    return {_ALIASES.get(name, name): value for name, value in raw.items()}


# --- placeholders -------------------------------------------------------------------------------------------

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_INNER = rf"{_NAME.pattern}(?:[|:][^{{}}\s\"']*)?"
_TOKEN = re.compile(rf"\{{\{{(?P<literal>{_INNER})\}}\}}|\{{(?P<slot>{_INNER})\}}")


class Slot:
    """One placeholder. field: how a client knows it; fill: gives its value, or MISSING."""

    __slots__ = ("field", "fill", "keeps_slashes")

    def __init__(self, name: str, fill: Fill, *, keeps_slashes: bool = False) -> None:
        self.field = request_field(name)
        self.fill = fill
        self.keeps_slashes = keeps_slashes


Piece = str | Slot


def request_field(name: str) -> str:
    """How a client wrote this name, for the fields of a 400."""
    return _REQUEST_FIELDS.get(name) or f"options.{name}"


def has_placeholder(text: str) -> bool:
    return any(match["slot"] for match in _TOKEN.finditer(text))


def parse(
    text: str, at: str, scope: Scope, *, key_allowed: bool = False, in_path: bool = False
) -> list[Piece]:
    """The string as literal text and slots; `{api_key}` is a fault unless key_allowed."""
    if looks_like_key(text):
        scope.faults.add(at, "looks like a key: store it with the instance and write {api_key} here")
    pieces: list[Piece] = []
    end = 0
    for match in _TOKEN.finditer(text):
        pieces.append(text[end : match.start()])
        end = match.end()
        if match["literal"] is not None:
            pieces.append(f"{{{match['literal']}}}")
        else:
            pieces.append(_slot(match["slot"], at, scope, key_allowed=key_allowed, in_path=in_path))
    pieces.append(text[end:])
    return _joined(pieces)


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Without empty literals, neighbouring ones as one."""
    joined: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        elif piece != "":
            joined.append(piece)
    return joined


def _slot(inner: str, at: str, scope: Scope, *, key_allowed: bool, in_path: bool) -> Slot:
    head, _, conversion = inner.partition(":")
    name, *pipes = head.split("|")
    name = _ALIASES.get(name, name)
    if name == API_KEY:
        return _key_slot(inner, at, scope, key_allowed=key_allowed)
    scope.names.add(name)
    keeps_slashes = in_path and pipes[-1:] == [KEEP_SLASHES]
    steps = _steps(pipes[:-1] if keeps_slashes else pipes, conversion, inner, at, scope)
    return Slot(name, _slot_fill(name, steps, scope.default(name, steps)), keeps_slashes=keeps_slashes)


def _key_slot(inner: str, at: str, scope: Scope, *, key_allowed: bool) -> Slot:
    scope.names.add(API_KEY)
    if not key_allowed:
        scope.faults.add(at, "{api_key} may stand only in headers and in the endpoint's query")
    elif inner != API_KEY:
        scope.faults.add(at, "{api_key} is sent as it is stored: it takes no transformation or conversion")
    return Slot(API_KEY, _slot_fill(API_KEY, [], MISSING))


def _steps(pipes: Sequence[str], conversion: str, inner: str, at: str, scope: Scope) -> list[Step]:
    steps = [step for pipe in pipes if (step := _pipe(pipe, inner, at, scope)) is not None]
    if conversion in CONVERSIONS:
        steps.append(CONVERSIONS[conversion])
    elif conversion or inner.endswith(":"):
        hint = "the conversion stands last" if "|" in conversion else f"use {', '.join(CONVERSIONS)}"
        scope.faults.add(at, f"unknown conversion in {{{inner}}}: {hint}{_LITERAL_HINT.format(inner)}")
    return steps


def _pipe(pipe: str, inner: str, at: str, scope: Scope) -> Step | None:
    step = scope.step(pipe)
    if pipe == KEEP_SLASHES:
        scope.faults.add(at, f"{KEEP_SLASHES} may stand only in the endpoint's path, and last")
    elif step is None:
        known = ", ".join(scope.transformations)
        scope.faults.add(
            at,
            f"unknown transformation {pipe!r} in {{{inner}}}: use {known}, or add a table to transformations",
        )
    return step


_LITERAL_HINT = "; for the text itself write {{{{{}}}}}"


def _run(value: Any, steps: Sequence[Step]) -> Any:
    for step in steps:
        value = step(value)
        if value is None:
            return MISSING
    return value


def _slot_fill(name: str, steps: Sequence[Step], default: Any) -> Fill:
    def plain(values: Values) -> Any:
        value = values.get(name)
        return default if value is None else value

    def stepped(values: Values) -> Any:
        value = values.get(name)
        if value is None:
            return default
        try:
            return _run(value, steps)
        except ValueError as exc:
            raise InvalidRequest.for_fields({request_field(name): str(exc)}) from None

    return stepped if steps else plain


# --- JSON trees ---------------------------------------------------------------------------------------------


class Constant:
    """A part of a tree with no placeholder in it. Shared by all requests: encode it, never change it."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, values: Values) -> Any:
        return self.value


def compile_tree(raw: Any, at: str, scope: Scope, *, depth: int = 0) -> Fill:
    """A JSON value whose strings are templates. Dotted keys are expected nested already: see mapping_nest.py."""
    if depth > MAX_DEPTH:
        scope.faults.add(at, f"is nested more than {MAX_DEPTH} levels deep")
        return Constant(None)
    if isinstance(raw, str):
        return compile_text(raw, at, scope)
    if isinstance(raw, dict):
        members = [(key, compile_tree(raw[key], f"{at}.{key}", scope, depth=depth + 1)) for key in raw]
        return _object_fill(members)
    if isinstance(raw, list):
        return _list_fill([compile_tree(x, f"{at}[{i}]", scope, depth=depth + 1) for i, x in enumerate(raw)])
    return Constant(raw)


def compile_text(text: str, at: str, scope: Scope, *, key_allowed: bool = False) -> Fill:
    """A string; exactly one placeholder keeps its value's JSON type, more around it makes text."""
    pieces = parse(text, at, scope, key_allowed=key_allowed)
    if len(pieces) == 1 and isinstance(pieces[0], Slot):
        return pieces[0].fill
    if all(isinstance(piece, str) for piece in pieces):
        return Constant("".join(str(piece) for piece in pieces))
    return _text_fill(pieces)


def _text_fill(pieces: Sequence[Piece]) -> Fill:
    fills: list[Fill] = [Constant(piece) if isinstance(piece, str) else piece.fill for piece in pieces]

    def fill(values: Values) -> Any:
        texts = []
        for part in fills:
            value = part(values)
            if value is MISSING:
                return MISSING
            texts.append(value if value.__class__ is str else text_of(value))
        return "".join(texts)

    return fill


def _object_fill(members: Sequence[tuple[str, Fill]]) -> Fill:
    if all(isinstance(member, Constant) for _, member in members):
        return Constant({key: member({}) for key, member in members})

    def fill(values: Values) -> Any:
        filled = {}
        for key, member in members:
            value = member(values)
            if value is not MISSING:
                filled[key] = value
        return filled or MISSING

    return fill


def _list_fill(items: Sequence[Fill]) -> Fill:
    if all(isinstance(item, Constant) for item in items):
        return Constant([item({}) for item in items])

    def fill(values: Values) -> Any:
        filled = [value for item in items if (value := item(values)) is not MISSING]
        return filled or MISSING

    return fill
