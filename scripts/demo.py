"""`make demo`: one request to every service of the running platform, with what it answered."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import httpx

BASE_DIR = Path(__file__).resolve().parent.parent


def main() -> None:
    path = Path(os.environ.get("DE_DATA_DIR") or BASE_DIR / "var") / "credentials.json"
    try:
        credentials = json.loads(path.read_text())
        httpx.get(f"{credentials['base_url']}/health").raise_for_status()
    except (OSError, httpx.HTTPError):
        sys.exit(
            "No running platform was found. Start one with `make run`, then try again in another terminal."
        )
    headers = {"Authorization": f"Bearer {credentials['test_key']}"}
    with httpx.Client(base_url=credentials["base_url"], headers=headers, timeout=30) as client:
        show(client, "config: is it up", "GET", "/config/health")
        show(client, "config: the models on offer", "GET", "/config/model-config", pick=_models)
        show(
            client,
            "text: a question to a model (the test key asks the sandbox)",
            "POST",
            "/text/generate",
            body={"prompt": "Name a river in Spain.", "model_id": "claude-haiku-5-5"},
        )
        stream(client, {"prompt": "Count to five.", "model_id": "gpt-6-luna"})
        show(client, "usage: what all this cost, from the ledger", "GET", "/config/usage?limit=2", pick=_rows)


def show(
    client: httpx.Client,
    title: str,
    method: str,
    path: str,
    *,
    body: Any = None,
    pick: Any = lambda data: data,
) -> None:
    print(f"\n── {title}\n   {method} {path}" + (f"  {json.dumps(body)}" if body else ""))
    answer = client.request(method, path, json=body)
    data = answer.json()
    text = json.dumps(pick(data) if answer.is_success else data, indent=2, ensure_ascii=False)
    print(f"   {answer.status_code}\n{textwrap.indent(text, '   ')}")


def stream(client: httpx.Client, body: dict[str, Any]) -> None:
    print(f"\n── text: the same as a stream\n   POST /text/generate/stream  {json.dumps(body)}\n   ", end="")
    with client.stream("POST", "/text/generate/stream", json=body) as answer:
        event = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                event = line[7:]
            elif line.startswith("data: ") and event == "delta":
                print(json.loads(line[6:])["text"], end="", flush=True)
            elif line.startswith("data: "):
                print(f"\n   {event}: {line[6:][:300]}")


def _models(data: Any) -> Any:
    configs = data["data"]["configs"]
    return {"total": data["data"]["total"], "first": [config["model_id"] for config in configs[:8]]}


def _rows(data: Any) -> Any:
    wanted = ("model_id", "status", "input_tokens", "output_tokens", "cost_usd", "latency_ms", "is_sandbox")
    return [{name: row[name] for name in wanted} for row in data["data"]["rows"]]


if __name__ == "__main__":
    main()
