"""Examples that the help of a command ends with. Each is a command line that the parser understands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EXAMPLES: Final[Mapping[tuple[str, ...], tuple[str, ...]]] = {
    ("plan",): (
        "interlock plan",
        "interlock plan envs/prod --out prod.plan --detailed-exitcode",
        "interlock plan --changed origin/main",
    ),
    ("roots",): ("interlock roots", "interlock roots --changed origin/main --json"),
    ("apply",): (
        "interlock apply",
        "interlock apply envs/prod --plan prod.plan",
        "interlock apply --auto-approve --wait 20m -- -var colour=green",
        "interlock apply --all --auto-approve",
    ),
    ("destroy",): ("interlock destroy envs/trial", "interlock destroy envs/trial --auto-approve --allow-destroy"),
    ("drift", "scan"): ("interlock drift scan envs/prod", "interlock drift scan --unmanaged all --format markdown"),
    ("drift", "accept"): ("interlock drift accept genesyscloud_routing_queue.orders --reason 'agreed in CHG-12'",),
    ("drift", "revert"): ("interlock drift revert genesyscloud_routing_queue.orders",),
    ("drift", "import"): ("interlock drift import --all --out imports.tf",),
    ("wait",): ("interlock wait", "interlock wait 1m8nn7tawz9jny6s --timeout 20m"),
    ("runs", "ls"): ("interlock runs ls --state prod/routing --limit 5",),
    ("runs", "show"): ("interlock runs show latest",),
    ("runs", "logs"): ("interlock runs logs latest --follow",),
    ("runs", "prune"): ("interlock runs prune --older-than 30d --dry-run",),
    ("queue", "ls"): ("interlock queue ls", "interlock queue ls prod/routing --json"),
    ("queue", "bump"): ("interlock queue bump prod/routing 1m8nn7tawz9jny6s",),
    ("queue", "pause"): ("interlock queue pause prod/routing --reason 'maintenance until 14:00'",),
    ("lock", "explain"): ("interlock lock explain prod/routing", "interlock lock explain . --window 30s"),
    ("lock", "acquire"): ("interlock lock acquire prod/routing --reason 'editing the state' --lease 2h",),
    ("force-unlock",): ("interlock force-unlock prod/routing --dry-run", "interlock force-unlock prod/routing"),
    ("recover",): ("interlock recover prod/routing", "interlock recover . --dry-run"),
    ("audit", "ls"): ("interlock audit ls --state prod/routing",),
    ("state", "history"): ("interlock state history prod/routing",),
    ("state", "diff"): ("interlock state diff prod/routing", "interlock state diff prod/routing --from 12 --to 14"),
    ("state", "restore"): ("interlock state restore prod/routing --dry-run",),
    ("state", "pull"): ("interlock state pull prod/routing --version serial:41",),
    ("state", "push"): ("interlock state push good.tfstate --state prod/routing",),
    ("state", "prune"): ("interlock state prune prod/routing --keep 100 --dry-run",),
    ("lint",): ("interlock lint", "interlock lint .github envs --fail-on error --format sarif"),
    ("ci", "generate"): ("interlock ci generate github --dry-run",),
    ("explain",): ("interlock explain apply.log", "interlock explain - --json"),
    ("deps",): ("interlock deps envs/prod", "interlock deps --impact genesyscloud_routing_queue.orders"),
    ("token", "create"): ("interlock token create --role runner --states 'prod/*' --expires 90d --note ci",),
    ("migrate",): ("interlock migrate --store postgresql://interlock@db.example/interlock",),
    ("serve",): ("interlock serve --listen 127.0.0.1:8650",),
    ("demo",): ("interlock demo",),
    ("bootstrap", "aws"): ("interlock bootstrap aws --bucket states --table locks --region eu-central-1 --dry-run",),
    ("init",): ("interlock init --print",),
    ("doctor",): ("interlock doctor", "interlock doctor envs/prod --json"),
}
"""By the words of a command: lines to type."""
