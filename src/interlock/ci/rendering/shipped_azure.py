"""The Azure template that ships in the repository: the stages of one root with parameters for its values.

It is what `ci generate azure` writes for one root, with a parameter where that has a value. There is one with AWS and
one without, since the toolkit's step takes the place of a shell's. `scripts/write_shipped.py` writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from interlock.ci.pipeline import REQUIREMENTS_FILE, Aws, Pipeline
from interlock.ci.rendering.azure import FILE, render_one
from interlock.ci.rendering.azure_many import spelled_out
from interlock.ci.rendering.stand_in import ONE

PLAIN_FILE, AWS_FILE = "templates/azure/interlock.yml", "templates/azure/interlock-aws.yml"

# What stands in the stages for a value, until a parameter is put in its place.
_PIPELINE = Pipeline(
    targets=(ONE,),
    branch="ilbranch",
    tool_version="ilterraform",
    genesys_region="ilregion",
    notify=True,
    home="ilhome",
    plan_key="ilkey",
)
_AWS = Aws(region="ilaws", plan_role="", apply_role="", connection="ilconnection")
_WORDS = {
    "${{ parameters.stage }}": "${{ replace(parameters.name, '-', '_') }}",
    "${{ parameters.slug }}": "${{ parameters.name }}",
    "ilbranch": "${{ parameters.branch }}",
    "ilterraform": "${{ parameters.terraform }}",
    "ilregion": "${{ parameters.genesys_region }}",
    "ilhome": "${{ parameters.home }}",
    "ilkey": "${{ parameters.plan_key }}",
    "ilaws": "${{ parameters.aws_region }}",
    "ilconnection": "${{ parameters.aws_connection }}",
    REQUIREMENTS_FILE: "${{ parameters.requirements }}",
    'INTERLOCK_WAIT: "60m"': "INTERLOCK_WAIT: ${{ parameters.wait }}",
    f"timeoutInMinutes: {_PIPELINE.limit_min(_PIPELINE.plan_min)}\n": (
        "timeoutInMinutes: ${{ parameters.plan_minutes }}\n"
    ),
    f"timeoutInMinutes: {_PIPELINE.limit_min(_PIPELINE.apply_min)}\n": (
        "timeoutInMinutes: ${{ parameters.apply_minutes }}\n"
    ),
    "condition: failed()\n": "condition: and(failed(), eq('${{ parameters.notify }}', 'true'))\n",
    'ci seal --state "$STATE"': 'ci seal --state "$STATE" --name "$SLUG"',
}
_HEAD = f"""\
# Part of Interlock {{version}}. Made by scripts/write_shipped.py; edit src/interlock/ci/rendering, not this file.
# The stages of one root: plan and comment, seal, apply, drift. How to use them: docs/howto/ci-azure.md.
parameters:
  - {{{{name: state, type: string}}}}
  - {{{{name: name, type: string}}}} # the state as part of names: small letters, digits and hyphens
  - {{{{name: directory, type: string}}}}
  - {{{{name: environment, type: string, default: production}}}}
  - {{{{name: lockfile, type: string, default: "-lockfile=readonly"}}}} # empty without a lock file of providers
  - {{{{name: branch, type: string, default: main}}}}
  - {{{{name: plan_key, type: string}}}} # the public key of `interlock ci keys`
  - {{{{name: requirements, type: string, default: {REQUIREMENTS_FILE}}}}} # as `interlock ci generate` writes it
  - {{{{name: terraform, type: string, default: 1.11.4}}}}
  - {{{{name: genesys_region, type: string, default: us-east-1}}}}
{{aws}}\
  - {{{{name: home, type: string, default: ""}}}} # a folder that outlives every job, for states in no shared backend
  - {{{{name: wait, type: string, default: 60m}}}} # longest wait for the turn
  - {{{{name: plan_minutes, type: number, default: 105}}}} # of a job, its waiting and ending included
  - {{{{name: apply_minutes, type: number, default: 195}}}}
  - {{{{name: notify, type: boolean, default: false}}}} # tell the webhook in INTERLOCK_NOTIFY_URL of failures

stages:
"""
_AWS_PARAMETERS = """\
  - {name: aws_region, type: string}
  - {name: aws_connection, type: string, default: aws} # of the service connections, before -plan and -apply
"""


def render(version: str) -> Mapping[str, str]:
    """Return the shipped templates by path, relative to the repository.

    Args:
        version: Of Interlock, of which they are a part.
    """
    return {
        PLAIN_FILE: _HEAD.format(version=version, aws="") + _stages(_PIPELINE),
        AWS_FILE: _HEAD.format(version=version, aws=_AWS_PARAMETERS) + _stages(replace(_PIPELINE, aws=_AWS)),
    }


def _stages(pipeline: Pipeline) -> str:
    text = render_one(pipeline)[FILE]
    text = spelled_out(text[text.index("\nstages:\n") + len("\nstages:\n") : text.index("  - stage: settings\n")])
    for word, put in _WORDS.items():
        text = text.replace(word, put)
    return text
