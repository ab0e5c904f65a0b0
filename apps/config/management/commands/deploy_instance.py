from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.config.deploy import DeployRefused, deploy_file_read, deployed_lines, instance_deploy


class Command(BaseCommand):
    help = "Create the instance a JSON file describes, or bring it to what the file says."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--config", type=Path, required=True, help="such as instances/production.json")
        parser.add_argument("--dry-run", action="store_true", help="show what would change, change nothing")

    def handle(self, *args: Any, config: Path, dry_run: bool, **options: Any) -> None:
        try:
            done = instance_deploy(deploy_file_read(config), is_dry_run=dry_run)
        except DeployRefused as exc:
            raise CommandError(str(exc)) from exc
        for line in deployed_lines(done, is_dry_run=dry_run):
            self.stdout.write(line)
