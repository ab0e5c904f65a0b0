from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.config.deploy import DeployRefused, deploy_file_read, deployed_lines, instance_deploy


class Command(BaseCommand):
    help = "Change what a JSON file names of an instance that exists; the rest stays."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--instance-id", required=True)
        parser.add_argument("--config", type=Path, required=True)
        parser.add_argument("--dry-run", action="store_true", help="show what would change, change nothing")

    def handle(self, *args: Any, instance_id: str, config: Path, dry_run: bool, **options: Any) -> None:
        try:
            given = deploy_file_read(config)
            if given.get("instance_id", instance_id) != instance_id:
                raise DeployRefused(f"{config} is for the instance {given['instance_id']!r}.")
            done = instance_deploy(given, instance_id=instance_id, may_create=False, is_dry_run=dry_run)
        except DeployRefused as exc:
            raise CommandError(str(exc)) from exc
        for line in deployed_lines(done, is_dry_run=dry_run):
            self.stdout.write(line)
