"""The GitLab component that ships in the repository: the jobs of one root with inputs for its values.

It is what `ci generate gitlab` writes for one root, with an input where that has a value. `scripts/write_shipped.py`
writes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from interlock.ci.pipeline import REQUIREMENTS_FILE, Pipeline
from interlock.ci.rendering.gitlab import FILE, render_one
from interlock.ci.rendering.stand_in import ONE

COMPONENT_FILE = "templates/interlock/template.yml"

# What stands in the jobs for a value, until an input is put in its place.
_PIPELINE = Pipeline(
    targets=(ONE,), branch="ilbranch", genesys_region="ilregion", home="ilhome", image="ilimage", plan_key="ilkey"
)
_NAME = "$[[ inputs.name ]]"
_HIDDEN = re.compile(r"(?<![\w/-])\.interlock(?:-(?:base|plan|comment|seal|apply))?(?=:?$)", re.MULTILINE)
_STAGE = re.compile(r"^  stage: \w+\n", re.MULTILINE)
_BARE = re.compile(r"^( +[A-Za-z_]+: )(\$\[\[ inputs\.\w+ \]\](?:-\w+)?)$", re.MULTILINE)  # values without quotes
_WORDS = {
    "    LOCKFILE: -lockfile=readonly\n": '    LOCKFILE: "$[[ inputs.lockfile ]]"\n',
    "    BRANCH: ilbranch\n": f'    BRANCH: "$[[ inputs.branch ]]"\n    JOB_NAME: "{_NAME}"\n',
    '    GIT_DEPTH: "1"\n': '    GIT_DEPTH: "1"\n    REQUIREMENTS: "$[[ inputs.requirements ]]"\n',
    f"--requirement {REQUIREMENTS_FILE}": '--requirement "$REQUIREMENTS"',
    'ci seal --state "$STATE"': 'ci seal --state "$STATE" --name "$JOB_NAME"',
    'INTERLOCK_WAIT: "60m"': 'INTERLOCK_WAIT: "$[[ inputs.wait ]]"',
    f"timeout: {_PIPELINE.limit_min(_PIPELINE.plan_min)} minutes": "timeout: $[[ inputs.plan_minutes ]] minutes",
    f"timeout: {_PIPELINE.limit_min(_PIPELINE.apply_min)} minutes": "timeout: $[[ inputs.apply_minutes ]] minutes",
    "\nsettings:\n": f"\nsettings:{_NAME}:\n",
    ONE.name: "$[[ inputs.state ]]",
    ONE.slug: _NAME,
    ONE.directory: "$[[ inputs.directory ]]",
    ONE.environment: "$[[ inputs.environment ]]",
    "ilbranch": "$[[ inputs.branch ]]",
    "ilregion": "$[[ inputs.genesys_region ]]",
    "ilhome": "$[[ inputs.home ]]",
    "ilimage": "$[[ inputs.image ]]",
    "ilkey": "$[[ inputs.plan_key ]]",
}
_HEAD = r"""
# Part of Interlock {version}. Made by scripts/write_shipped.py; edit src/interlock/ci/rendering, not this file.
# A GitLab CI/CD component: one state's plan, seal, apply and drift jobs.
#   include:
#     - component: $CI_SERVER_FQDN/<group>/interlock/interlock@1.2.3
#       inputs: {{state: prod/routing, directory: infra/routing, image: "NAME@sha256:…", plan_key: ilwrap_…}}
# A whole pipeline for several states, with AWS roles and notifications: `interlock ci generate gitlab`.
spec:
  inputs:
    state:
      description: Name of the state
      regex: ^[A-Za-z0-9][A-Za-z0-9._/-]*$
    directory:
      description: The root module
      default: .
      regex: ^[A-Za-z0-9._][A-Za-z0-9._/-]*$
    name:
      description: Part of the job names and the resource group; one for each state
      default: state
      regex: ^[a-z0-9-]+$
    branch:
      description: Its pushes are applied
      default: main
      regex: ^[A-Za-z0-9][A-Za-z0-9._/-]*$
    environment:
      description: The environment with its approvals and variables
      default: production
      regex: ^[A-Za-z0-9][A-Za-z0-9._ /-]*$
    image:
      description: An image with Terraform, with its digest
      regex: ^[a-z0-9][\w./:-]*@sha256:[0-9a-f]{{64}}$
    requirements:
      description: A file that names Interlock and all that it needs with checksums; `interlock ci generate` writes it
      default: interlock.requirements.txt
      regex: ^[A-Za-z0-9._][A-Za-z0-9._/-]*$
    lockfile:
      description: Flag for the lock file of providers; "-lockfile=readonly" where the root has one
      default: ""
      regex: ^(-lockfile=readonly)?$
    genesys_region:
      description: GENESYSCLOUD_REGION
      default: us-east-1
      regex: ^[a-z0-9-]+$
    home:
      description: A folder that each job mounts and that outlives it, for states in no shared backend
      default: ""
      regex: ^(/[A-Za-z0-9._/-]+)?$
    plan_key:
      description: The public key of `interlock ci keys`, with which plans are wrapped
      regex: ^ilwrap_[A-Za-z0-9_-]{{43}}$
    wait:
      description: Longest wait for the turn
      default: 60m
      regex: ^(\d+h)?(\d+m)?$
    plan_minutes:
      description: Limit of a job that plans, its waiting and ending included
      default: 105
      type: number
    apply_minutes:
      description: Limit of a job that applies, its waiting and ending included
      default: 195
      type: number
---
"""


def render(version: str) -> Mapping[str, str]:
    """Return the shipped component by its path, relative to the repository.

    Args:
        version: Of Interlock, of which it is a part.
    """
    text = render_one(_PIPELINE)[FILE]
    jobs = text[text.index("# What every job has") :]
    jobs = _HIDDEN.sub(lambda name: f"{name[0]}-{_NAME}", _STAGE.sub("", jobs))
    for word, put in _WORDS.items():
        jobs = jobs.replace(word, put)
    return {COMPONENT_FILE: _HEAD.lstrip().format(version=version) + _BARE.sub(r'\1"\2"', jobs)}
