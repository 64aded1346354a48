"""The reusable GitHub workflows that ship in the repository: the jobs of one root with inputs for its values.

They are what `ci generate github` writes for one root, with an input where that has a value, so that neither can be
mended alone. `scripts/write_shipped.py` writes them. Source: docs/facts/ci-systems.md#ci-17.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from interlock.ci.pipeline import REQUIREMENTS_FILE, Aws, Pipeline
from interlock.ci.quoting import yaml_scalar
from interlock.ci.rendering.github import PINS, render_one
from interlock.ci.rendering.github_many import SECRET, spelled_out
from interlock.ci.rendering.stand_in import ONE

_FOLDER = ".github/workflows"
PLAN_FILE, APPLY_FILE, DRIFT_FILE = (f"{_FOLDER}/interlock-{name}.yml" for name in ("plan", "apply", "drift"))

# What stands in the jobs for a value, until an input is put in its place.
_PIPELINE = Pipeline(
    targets=(ONE,),
    branch="ilbranch",
    tool_version="ilterraform",
    genesys_region="ilregion",
    aws=Aws(region="ilaws", plan_role="ilreader", apply_role="ilwriter"),
    notify=True,
    runner="ilrunner",
    home="ilhome",
    plan_key="ilkey",
)


@dataclass(frozen=True, slots=True)
class Input:
    """An input of a reusable workflow.

    Attributes:
        name: As callers write it.
        words: Its description.
        default: None where callers must give it.
        type: Of GitHub's three.
    """

    name: str
    words: str
    default: str | int | None = None
    type: str = "string"


_INPUTS = (
    Input("state", "Name of the state"),
    Input("name", "The state as part of the names of artifacts and queues: small letters, digits and hyphens"),
    Input("directory", "The root module"),
    Input("environment", "The environment with its approvals and secrets", "production"),
    Input("lockfile", "Flag for the lock file of providers; empty when the root has none", "-lockfile=readonly"),
    Input("branch", "Its pushes are applied", "main"),
    Input("plan_key", "The public key of `interlock ci keys`, with which plans are wrapped"),
    Input("requirements", "A file that names Interlock and all that it needs with checksums", REQUIREMENTS_FILE),
    Input("terraform", "Version of Terraform, exact", "1.11.4"),
    Input("tofu", "Version of OpenTofu, exact, to use it instead", ""),
    Input("genesys_region", "GENESYSCLOUD_REGION", "us-east-1"),
    Input("aws_region", "Region of the state's bucket; empty without AWS", ""),
    Input("plan_role", "ARN of the AWS role that plans", ""),
    Input("apply_role", "ARN of the AWS role that applies", ""),
    Input("runner", "Label of the machines", "ubuntu-24.04"),
    Input("home", "A folder of one machine that outlives every job, for states in no shared backend", ""),
    Input("wait", "Longest wait for the turn", "60m"),
    Input("plan_minutes", "Limit of a job that plans, its waiting and ending included", 105, "number"),
    Input("apply_minutes", "Limit of a job that applies, its waiting and ending included", 195, "number"),
    Input("notify", "Tell the webhook in the secret INTERLOCK_NOTIFY_URL of failures", "false", "boolean"),
    Input("settings", "Run `interlock ci check`, which reads interlock.yaml", "true", "boolean"),
)
_WORDS = {
    "inputs.slug": "inputs.name",
    "'refs/heads/ilbranch'": "format('refs/heads/{0}', inputs.branch)",
    "ilbranch": "${{ inputs.branch }}",
    "ilregion": "${{ inputs.genesys_region }}",
    "ilaws": "${{ inputs.aws_region }}",
    "ilreader": "${{ inputs.plan_role }}",
    "ilwriter": "${{ inputs.apply_role }}",
    "ilrunner": "${{ inputs.runner }}",
    "ilhome": "${{ inputs.home }}",
    "ilkey": "${{ inputs.plan_key }}",
    REQUIREMENTS_FILE: "${{ inputs.requirements }}",
    'INTERLOCK_WAIT: "60m"': "INTERLOCK_WAIT: ${{ inputs.wait }}",
    f"timeout-minutes: {_PIPELINE.limit_min(_PIPELINE.plan_min)}\n": "timeout-minutes: ${{ inputs.plan_minutes }}\n",
    f"timeout-minutes: {_PIPELINE.limit_min(_PIPELINE.apply_min)}\n": "timeout-minutes: ${{ inputs.apply_minutes }}\n",
    "        if: failure()\n": "        if: ${{ failure() && inputs.notify }}\n",
    'ci seal --state "$STATE"': 'ci seal --state "$STATE" --name "$SLUG"',
    "  settings:\n": "  settings:\n    if: ${{ inputs.settings }}\n",
}


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who calls one of the workflows: its triggers, what it must permit, and what only this workflow does."""

    name: str
    on: str
    permissions: tuple[str, ...]
    does: str


_READS = ("contents: read", "id-token: write", "actions: read")
_CALLERS = {
    PLAN_FILE: _Caller("interlock plan", "pull_request", (*_READS, "pull-requests: write"), "plans a root of a change"),
    APPLY_FILE: _Caller(
        "interlock apply",
        "push, workflow_dispatch",
        (*_READS, "pull-requests: read"),
        "seals the reviewed plan of a root and applies it; by hand plans it anew",
    ),
    DRIFT_FILE: _Caller("interlock drift", "schedule", _READS, "looks for drift of a root"),
}
_TERRAFORM = re.compile(
    rf"      - uses: {re.escape(str(PINS['terraform']))}\n        with:\n"
    r"          terraform_version: ilterraform\n          terraform_wrapper: false\n"
)
_BOTH_TOOLS = f"""\
      - if: inputs.tofu == ''
        uses: {PINS["terraform"]}
        with:
          terraform_version: ${{{{ inputs.terraform }}}}
          terraform_wrapper: false
      - if: inputs.tofu != ''
        uses: {PINS["tofu"]}
        with:
          tofu_version: ${{{{ inputs.tofu }}}}
          tofu_wrapper: false
"""
_AWS = f"      - uses: {PINS['aws']}\n"
_AWS_IF_NAMED = f"      - if: inputs.aws_region != ''\n        uses: {PINS['aws']}\n"
_HEAD = """\
# Part of Interlock {version}. Made by scripts/write_shipped.py; edit src/interlock/ci/rendering, not this file.
# It {does}.
# Call it on {on} from a file of the same name (docs/howto/ci-github.md), which permits:{permissions}
name: {name}

on:
  workflow_call:
    inputs:
"""


def render(version: str) -> Mapping[str, str]:
    """Return the shipped workflows by path, relative to the repository.

    Args:
        version: Of Interlock, of which they are a part.
    """
    written = render_one(_PIPELINE)
    return {path: _reusable(path, written[path], version) for path in _CALLERS}


def _reusable(path: str, text: str, version: str) -> str:
    """Return the jobs of one root with inputs for its values."""
    jobs = spelled_out(text[text.index("\njobs:\n") :], "inputs")
    jobs = _TERRAFORM.sub(lambda _: _BOTH_TOOLS, jobs).replace(_AWS, _AWS_IF_NAMED)
    for word, put in _WORDS.items():
        jobs = jobs.replace(word, put)
    caller = _CALLERS[path]
    head = _HEAD.format(
        version=version,
        name=caller.name,
        on=caller.on,
        does=caller.does,
        permissions="".join(f"\n#   {permission}" for permission in caller.permissions),
    )
    inputs = "".join(_input(one) for one in _INPUTS if f"inputs.{one.name}" in jobs)
    secrets = "".join(f"      {name}:\n        required: false\n" for name in dict.fromkeys(SECRET.findall(jobs)))
    return f"{head}{inputs}    secrets:\n{secrets}\npermissions: {{}}\n{jobs}"


def _input(one: Input) -> str:
    lines = [f"{one.name}:", f"  description: {yaml_scalar(one.words)}", f"  type: {one.type}"]
    if one.default is None:
        lines.append("  required: true")
    else:
        is_text = one.type == "string"
        lines.append(f"  default: {yaml_scalar(one.default) if is_text else one.default}")
    return "".join(f"      {line}\n" for line in lines)
