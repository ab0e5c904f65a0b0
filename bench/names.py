"""What prepare.py puts into the gateway's database and run.py asks for by name."""

from __future__ import annotations

import hashlib

ORG_ID = "bench"
INSTANCE_ID = "bench"
# Stream shapes: content chunks x milliseconds between them.
FAST_STREAM = "100x0"
PACED_STREAM = "100x20"
LONG_STREAM = "100x100"
STREAM_SHAPES = (FAST_STREAM, PACED_STREAM, LONG_STREAM)
PROMPT = "Write one sentence that uses every letter of the alphabet, then count its words for me, please."


def api_key(number: int) -> str:
    """The live key of that number; 0 is the one everything but the key test uses."""
    return f"sk_live_{hashlib.sha256(f'bench-key-{number}'.encode()).hexdigest()}"


def model_id(shape: str = "plain") -> str:
    return f"bench-{shape}"


def fill_model_id(number: int) -> str:
    return f"bench-fill-{number}"
