"""The sandbox's English, and its idea of a token.

Everything is drawn from a seed made of the request: the same request gets the same words, on any machine.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable
from random import Random
from typing import Any

import msgspec

# A token of an answer: up to eight letters or two signs, with the blanks before them.
_TOKEN = re.compile(r"\s*(?:\w{1,8}|[^\w\s]{1,2})|\s+")
_WORD = re.compile(r"[^\W\d_]{4,}")
_WANTED_WORDS = re.compile(r"\b(\d{1,4})[ -]words?\b", re.IGNORECASE)

_OPENINGS = (
    "You asked: “{quote}”.",
    "On “{quote}”, here is a short answer.",
    "About “{quote}”:",
    "Here is what can be said about “{quote}”.",
)
_SENTENCES = (
    "There is more than one side to “{topic}”, and each rewards a second look.",
    "Most people meet “{topic}” in passing and only later see how much depends on it.",
    "A good way to begin is to write down what is already known about “{topic}”.",
    "It helps to keep “{topic}” apart from “{other}”, though the two are often named together.",
    "Small steps go further here than grand plans.",
    "What matters most is to know when “{topic}” is good enough.",
    "Those who work with “{topic}” every day tend to speak of it plainly.",
    "Compare two examples, and the rest of “{topic}” explains itself.",
    "The oldest accounts of “{topic}” are brief, and still worth reading.",
    "Where “{topic}” ends, “{other}” usually begins.",
    "None of this is settled, which is part of its charm.",
    "Try it once on a quiet afternoon and “{topic}” will seem less strange.",
)
_CLOSINGS = (
    "That is the whole of it, from the sandbox.",
    "These words come from the sandbox, not from a model.",
    "So much for “{topic}”, as the sandbox sees it.",
)
_COMMON = set(
    """
    about after again answer asked before could every from give have into just like make more most much name only
    please reply should some tell that their them then there these they this what when where which with word words
    would write your
    """.split()  # noqa: SIM905 - a word list reads better as words
)


def fingerprint(*parts: Any) -> str:
    """One digest of whatever the answer depends on."""
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


def pieces(text: str) -> list[str]:
    """The text in tokens; joined again they are the text."""
    return _TOKEN.findall(text)


def prompt_tokens(texts: Iterable[str]) -> int:
    """A rule of thumb for what comes in: four characters a token, at least one a text."""
    return sum(max(1, (len(text) + 3) // 4) for text in texts)


def quote(text: str, *, longest: int = 80) -> str:
    """The text on one line, cut at a word."""
    line = " ".join(text.split())
    if len(line) <= longest:
        return line.rstrip(".")
    return line[:longest].rsplit(" ", 1)[0] + "…"


def prose(rng: Random, prompt: str, *, asides: Iterable[str] = ()) -> str:
    """An answer in a few sentences that reflects the prompt; “in 300 words” makes it that long.

    asides: sentences that must be in it, after the opening.
    """
    topic, other = _topics(prompt)
    names = {"quote": quote(prompt), "topic": topic, "other": other}
    # What is quoted may hold braces of its own.
    said = [rng.choice(_OPENINGS), *(aside.replace("{", "{{").replace("}", "}}") for aside in asides)]
    wanted = _WANTED_WORDS.search(prompt)
    missing = int(wanted[1]) if wanted else 0
    pool: list[str] = []
    for count in itertools.count():
        if count >= 2 and missing <= 0:
            break
        pool = pool or rng.sample(_SENTENCES, len(_SENTENCES))
        said.append(pool.pop())
        missing -= len(said[-1].split())
    said.append(rng.choice(_CLOSINGS))
    return " ".join(sentence.format_map(names) for sentence in said)


def musing(rng: Random, prompt: str) -> str:
    """What a model might think before it answers."""
    topic = _topics(prompt)[0]
    return rng.choice(
        (
            f"The question is about “{topic}”. I will quote it, say a few true things, and stop.",
            f"First I should be sure what is asked about “{topic}”; then a short answer will do.",
            f"They want something on “{topic}”. Plain words are best, and not too many.",
        )
    )


def _topics(prompt: str) -> tuple[str, str]:
    """The two longest telling words of the prompt, longest first."""
    found = dict.fromkeys(word.lower() for word in _WORD.findall(prompt[:2000]))
    telling = sorted((word for word in found if word not in _COMMON), key=len, reverse=True)
    topic, other, *_ = [*telling, "this", "that"]
    return topic, other
