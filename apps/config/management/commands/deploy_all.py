from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.config.deploy import DeployRefused, deploy_file_read, deployed_lines, instance_deploy


class Command(BaseCommand):
    help = "Deploy every *.json of a folder, example*.json apart."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dir", type=Path, required=True, dest="folder", help="such as instances/")
        parser.add_argument("--dry-run", action="store_true", help="show what would change, change nothing")

    def handle(self, *args: Any, folder: Path, dry_run: bool, **options: Any) -> None:
        files = [path for path in sorted(folder.glob("*.json")) if not path.name.startswith("example")]
        if not files:
            raise CommandError(f"There is no instance file (*.json, example*.json apart) in {folder}.")
        bodies = self._read(files)
        failed = 0
        for path, body in bodies.items():
            try:
                done = instance_deploy(body, is_dry_run=dry_run)
            except DeployRefused as exc:
                failed += 1
                self.stderr.write(f"{path}:\n{exc}")
                continue
            for line in deployed_lines(done, is_dry_run=dry_run):
                self.stdout.write(line)
        if failed:
            raise CommandError(f"{failed} of {len(files)} files could not be deployed.")

    def _read(self, files: list[Path]) -> dict[Path, dict[str, Any]]:
        """All files, before anything is changed: a missing variable in the last must not leave half deployed."""
        bodies: dict[Path, dict[str, Any]] = {}
        faults: list[str] = []
        owners: dict[str, Path] = {}
        for path in files:
            try:
                bodies[path] = deploy_file_read(path)
            except DeployRefused as exc:
                faults.append(str(exc))
                continue
            instance_id = str(bodies[path].get("instance_id"))
            if owners.setdefault(instance_id, path) != path:
                faults.append(f"{path}: {instance_id!r} is in {owners[instance_id]} too.")
        if faults:
            raise CommandError("\n".join(faults))
        return bodies
