"""The house itself: imports go down the ladder only, every setting is documented, nothing phones out."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

BASE_DIR = Path(__file__).resolve().parent.parent

# Topmost first; a room may import from those below it only.
LADDER = (
    ("compat", "monitoring", "testing"),
    ("text", "image", "audio", "media", "render"),
    ("jobs",),
    ("usage",),
    ("config",),
    ("accounts",),
    ("providers",),
    ("core",),
)
FLOOR = {app: floor for floor, apps in enumerate(LADDER) for app in apps}


def sources(folder: str = "apps") -> list[Path]:
    listed = subprocess.run(
        [
            "git",
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            f"{folder}/**/*.py",
            f"{folder}/*.py",
        ],
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
    )
    return [BASE_DIR / name for name in listed.stdout.split() if (BASE_DIR / name).exists()]


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(BASE_DIR)))
def test_imports_go_down_the_ladder_only(path: Path):
    here = str(path.relative_to(BASE_DIR))
    app = path.relative_to(BASE_DIR / "apps").parts[0]
    for module in imports_of(path):
        words = module.split(".")
        assert words[0] != "de", f"{here} imports {module}: apps don't know the wiring"
        if words[0] != "apps" or len(words) < 2 or words[1] == app:
            continue
        assert words[1] != "sandbox", f"{here} imports the sandbox: it is one base_url away"
        if app == "sandbox":
            assert words[1] == "core", f"{here} imports {module}: the sandbox knows core alone"
        else:
            assert FLOOR[words[1]] > FLOOR[app], f"{here} imports {module}: up the ladder"


@pytest.mark.parametrize("path", sources("apps/providers"), ids=lambda path: path.name)
def test_the_providers_library_knows_no_rows_and_no_settings(path: Path):
    assert not [module for module in imports_of(path) if module.split(".")[0] in ("django", "rest_framework")]


def test_every_setting_read_from_the_environment_is_documented():
    names = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', (BASE_DIR / "de" / "settings.py").read_text()))
    assert len(names) > 15
    for document in ("docs/settings.md", ".env.example"):
        text = (BASE_DIR / document).read_text()
        assert {name for name in names if not re.search(rf"\b{name}\b", text)} == set(), document


def test_requirements_are_pinned():
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (BASE_DIR / name).read_text().splitlines():
            requirement = line.split("#")[0].split(";")[0].strip()
            assert not requirement or "==" in requirement or requirement.startswith("-r "), line
