"""JSONPath for payload mappings: compiled once at save, read on every answer and stream event.

A path of names, indexes and `*` (`$.choices[0].message.content`, `$.content[*].text`) is walked here in well
under a microsecond; anything else (`..`, slices, filters, several selectors in one bracket) goes to
python-jsonpath in strict RFC 9535 mode, 15 to 50 µs.

A path is written by an administrator and read against whatever a provider answers, so its work is bounded
when it is compiled: see `_bound`. What remains is linear in the size of the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final, Protocol

from jsonpath import JSONPathEnvironment
from jsonpath.exceptions import JSONPathError
from jsonpath.filter import BaseExpression, FilterQuery, RootFilterQuery
from jsonpath.path import JSONPath
from jsonpath.segments import JSONPathRecursiveDescentSegment
from jsonpath.selectors import Filter

MAX_LENGTH: Final = 256
MAX_DEPTH: Final = 64  # levels that `..` descends; a deeper answer finds nothing
MAX_MATCHES: Final = 10_000
_MAX_FILTERS: Final = 3
_MAX_SELECTORS: Final = 8


class Path(Protocol):
    """A compiled path. text: as it was written."""

    text: str

    def first(self, doc: Any) -> Any:
        """The first value found; None when there is none (or it is null)."""
        ...

    def all(self, doc: Any) -> list[Any]:
        """Every value found, in the document's order; nulls included."""
        ...


def compile_path(text: str) -> Path:
    """Raises ValueError with a sentence for a person: what is wrong with the path and, where known, the cure."""
    if not isinstance(text, str) or not text.startswith("$"):
        raise ValueError(f"{text!r} is not a JSONPath: a path begins with $, as in $.data[0].url")
    if len(text) > MAX_LENGTH:
        raise ValueError(f"this path is {len(text)} characters long; at most {MAX_LENGTH} are allowed")
    if _PLAIN.fullmatch(text):
        return _walk(text)
    return _Query(text, _compile_query(text))


# --- plain paths --------------------------------------------------------------------------------------------

_NAME = r"[A-Za-z_\u0080-\uffff][\w-]*"
_PIECE = re.compile(
    rf"\.(?P<name>{_NAME})"
    r"|\['(?P<single>[^'\\]*)'\]"
    r'|\["(?P<double>[^"\\]*)"\]'
    r"|\[(?P<index>0|-?[1-9]\d{0,8})\]"
    r"|(?P<each>\[\*\]|\.\*)"
)
_PLAIN = re.compile(rf"\$(?:{re.sub(r'[?]P<[a-z]+>', '?:', _PIECE.pattern)})*")

_EACH: Final = None
_ABSENT: Final = object()

_Step = str | int | None


def _walk(text: str) -> Path:
    steps = [_step(piece) for piece in _PIECE.finditer(text)]
    return _EachWalk(text, steps) if _EACH in steps else _Walk(text, steps)


def _step(piece: re.Match[str]) -> _Step:
    if piece["each"]:
        return _EACH
    if piece["index"]:
        return int(piece["index"])
    return next(name for name in piece.group("name", "single", "double") if name is not None)


def _child(node: Any, step: str | int) -> Any:
    if isinstance(step, str):
        return node.get(step, _ABSENT) if isinstance(node, dict) else _ABSENT
    if isinstance(node, list) and -len(node) <= step < len(node):
        return node[step]
    return _ABSENT


class _Walk:
    """Names and indexes only: at most one value."""

    __slots__ = ("_steps", "text")

    def __init__(self, text: str, steps: Sequence[_Step]) -> None:
        self.text = text
        self._steps = tuple(step for step in steps if step is not None)

    def first(self, doc: Any) -> Any:
        found = self._find(doc)
        return None if found is _ABSENT else found

    def all(self, doc: Any) -> list[Any]:
        found = self._find(doc)
        return [] if found is _ABSENT else [found]

    def _find(self, node: Any) -> Any:
        for step in self._steps:
            node = _child(node, step)
            if node is _ABSENT:
                break
        return node


class _EachWalk:
    """With a `*` among the steps: the front of the walk may hold many nodes."""

    __slots__ = ("_steps", "text")

    def __init__(self, text: str, steps: Sequence[_Step]) -> None:
        self.text = text
        self._steps = tuple(steps)

    def first(self, doc: Any) -> Any:
        return next(iter(self.all(doc)), None)

    def all(self, doc: Any) -> list[Any]:
        front = [doc]
        for step in self._steps:
            if step is None:
                front = [child for node in front for child in _children(node)]
            else:
                front = [child for node in front if (child := _child(node, step)) is not _ABSENT]
        return front


def _children(node: Any) -> Sequence[Any]:
    if isinstance(node, list):
        return node
    return list(node.values()) if isinstance(node, dict) else ()


# --- the rest -----------------------------------------------------------------------------------------------


class _Environment(JSONPathEnvironment):
    max_recursion_depth = MAX_DEPTH

    def setup_function_extensions(self) -> None:
        """RFC 9535's functions without the two that take regular expressions.

        match() and search() run Python's backtracking `re` on text a provider chose: `(a+)+$` against forty
        letters would hold the event loop for minutes. No mapping needs them.
        """
        super().setup_function_extensions()
        del self.function_extensions["match"], self.function_extensions["search"]


_ENVIRONMENT = _Environment(strict=True)


class _Query:
    __slots__ = ("_query", "text")

    def __init__(self, text: str, query: JSONPath) -> None:
        self.text = text
        self._query = query

    def first(self, doc: Any) -> Any:
        return next(iter(self._find(doc, 1)), None)

    def all(self, doc: Any) -> list[Any]:
        return self._find(doc, MAX_MATCHES)

    def _find(self, doc: Any, limit: int) -> list[Any]:
        # The library would parse a top-level string as JSON text; to us it is a value without children.
        if not isinstance(doc, dict | list):
            return []
        try:
            return [match.obj for match in islice(self._query.finditer(doc), limit)]
        except (JSONPathError, RecursionError):  # deeper than MAX_DEPTH: no provider's honest answer
            return []


def _compile_query(text: str) -> JSONPath:
    try:
        query = _ENVIRONMENT.compile(text)
    except (JSONPathError, RecursionError, ValueError) as exc:
        raise ValueError(f"{text!r} is not a JSONPath: {_reason(text, exc)}") from exc
    if not isinstance(query, JSONPath):
        raise ValueError(f"{text!r} joins several paths; give one")
    try:
        _bound(query)
    except ValueError as exc:
        raise ValueError(f"{text!r} could take too long: {exc}") from None
    return query


def _reason(text: str, exc: Exception) -> str:
    if re.search(r"\.\d", text):
        return "write an index in brackets, [0] and not .0"
    if re.search(r"\b(match|search)\(", text):
        return "the functions match() and search() are switched off here; compare with =="
    # Not str(exc): the library's own rendering is a multi-line drawing, and fails on an error at the very end.
    return str(exc.args[0]) if exc.args else "it cannot be read"


def _bound(query: JSONPath) -> None:
    """Refuses the shapes whose work grows faster than the document.

    `$..a..b` visits every node once per ancestor; `$[*,*][*,*]…` doubles with each bracket; a filter that
    looks into a filter, or at `$`, goes over the document once for every node of it.
    """
    descents = sum(isinstance(segment, JSONPathRecursiveDescentSegment) for segment in query.segments)
    several = [len(segment.selectors) for segment in query.segments if len(segment.selectors) > 1]
    if descents > 1:
        raise ValueError("use .. only once")
    if len(several) > 1 or max(several, default=0) > _MAX_SELECTORS:
        raise ValueError(f"use only one bracket with several selectors, and at most {_MAX_SELECTORS} in it")
    filters = _filters(query)
    if len(filters) > _MAX_FILTERS:
        raise ValueError(f"use at most {_MAX_FILTERS} filters")
    for expression in filters:
        _bound_filter(expression)


def _filters(query: JSONPath) -> list[BaseExpression]:
    selectors = [selector for segment in query.segments for selector in segment.selectors]
    return [selector.expression for selector in selectors if isinstance(selector, Filter)]


def _bound_filter(expression: BaseExpression) -> None:
    if isinstance(expression, RootFilterQuery):
        raise ValueError("a filter may look at @, not at $")
    if isinstance(expression, FilterQuery):
        for segment in expression.path.segments:
            if isinstance(segment, JSONPathRecursiveDescentSegment) or len(segment.selectors) > 1:
                raise ValueError("inside a filter use plain paths such as @.type")
        if _filters(expression.path):
            raise ValueError("a filter may not hold another filter")
    for child in expression.children():
        _bound_filter(child)
