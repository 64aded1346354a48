"""Each CI rule: where it fires, to the column, and where it must be silent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from interlock.ci import read_all
from interlock.lint import Sources
from interlock.lint.engine import Request, lint
from interlock.lint.rules.ci import CI_RULES
from interlock.source.tree import MemoryTree

GITHUB = ".github/workflows/deploy.yml"
GITLAB = ".gitlab-ci.yml"
AZURE = "azure-pipelines.yml"


def found(files: Mapping[str, str], rule: str) -> list[tuple[str, int, int]]:
    """Return where a rule fires: path, line, column."""
    texts = {path: text.encode() for path, text in files.items()}
    sources = Sources(workflows=read_all(MemoryTree(files), files), texts=texts)
    (chosen,) = (one for one in CI_RULES if one.name == rule)
    return sorted((one.span.path, one.span.line, one.span.column) for one in chosen.check(sources))


@dataclass(frozen=True, kw_only=True)
class Case:
    """A file and the places where one rule fires in it."""

    rule: str
    about: str
    path: str
    text: str
    places: list[tuple[int, int]] = field(default_factory=list)
    others: Mapping[str, str] = field(default_factory=dict)


def github(job: str, *, top: str = "on: {push: {branches: [main, develop]}}") -> str:
    """Return a workflow: `top` keys and one job's lines; the job's first key is on line 5 when `top` is one line."""
    body = "".join(f"    {line}\n" for line in job.split("\n"))
    return f"{top}\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n{body}"


APPLY = "steps:\n  - run: terraform apply plan.bin"

CASES = [
    # ci-unpinned-install
    *(
        Case(
            rule="ci-unpinned-install",
            about=command,
            path=GITHUB,
            text=github(f"steps:\n  - run: {command}\n  - run: terraform plan"),
            places=[(6, 14)] if fires else [],
        )
        for command, fires in (
            ("pip install interlock", True),
            ("python3.13 -I -m pip install --quiet interlock==1.0", True),
            ("pip install --index-url https://example.com interlock", True),
            ("pipx install interlock", True),
            ("curl -sSf https://example.com/install.sh | sh", True),
            ("pip install --require-hashes -r requirements.txt", False),
            ("pip install --index-url https://example.com -e .", False),
            ("pip install ./dist/interlock.whl", False),
            (f"pip install https://example.com/interlock.whl#sha256={'a' * 64}", False),
            ("pip --version", False),
            ("curl -sSf -o x https://example.com/x", False),
        )
    ),
    Case(
        rule="ci-unpinned-install",
        about="an install of requirements without checksums",
        path=GITHUB,
        text=github("steps:\n  - run: pip install -r requirements.txt\n  - run: terraform plan"),
        places=[(6, 14)],
    ),
    # ci-key-beside-change
    Case(
        rule="ci-key-beside-change",
        about="a key of the whole job",
        path=GITHUB,
        text=github("env: {INTERLOCK_SEAL_KEY: x}\nsteps: [{run: interlock plan}]"),
        places=[(5, 11)],
    ),
    Case(
        rule="ci-key-beside-change",
        about="a seal job, and an apply job that opens",
        path=GITHUB,
        text=github("env: {INTERLOCK_PLAN_KEY: x}\nsteps: [{run: interlock apply . --plan p}]"),
    ),
    # ci-plan-of-newest-run
    Case(
        rule="ci-plan-of-newest-run",
        about="the last pipeline of a ref",
        path=GITLAB,
        text='apply:\n  script:\n    - curl "$CI_API_V4_URL/projects/1/jobs/artifacts/main/download?job=plan" -o p\n'
        "    - terraform apply plan.bin\n",
        places=[(3, 7)],
    ),
    Case(
        rule="ci-plan-of-newest-run",
        about="an action without a run",
        path=GITHUB,
        text=github(
            "steps:\n  - uses: dawidd6/action-download-artifact@0\n    with: {workflow: plan.yml}\n"
            "  - run: terraform apply plan.bin"
        ),
        places=[(6, 15)],
    ),
    Case(
        rule="ci-plan-of-newest-run",
        about="an action with the run",
        path=GITHUB,
        text=github(
            "steps:\n  - uses: dawidd6/action-download-artifact@0\n    with: {run_id: 7}\n"
            "  - run: terraform apply plan.bin"
        ),
    ),
    # ci-unserialized
    Case(rule="ci-unserialized", about="an apply alone", path=GITHUB, text=github(APPLY), places=[(3, 3)]),
    Case(rule="ci-unserialized", about="a plan alone", path=GITHUB, text=github("steps: [{run: terraform plan}]")),
    Case(
        rule="ci-unserialized",
        about="interlock queues by itself",
        path=GITHUB,
        text=github("steps: [{run: interlock apply . --plan x}]"),
    ),
    Case(rule="ci-unserialized", about="a job group", path=GITHUB, text=github("concurrency: tf\n" + APPLY)),
    Case(
        rule="ci-unserialized",
        about="a workflow group",
        path=GITHUB,
        text=github(APPLY, top="on: push\nconcurrency: tf"),
    ),
    Case(
        rule="ci-unserialized",
        about="only called: the caller decides",
        path=GITHUB,
        text=github(APPLY, top="on: workflow_call"),
    ),
    Case(
        rule="ci-unserialized",
        about="the caller does not serialise",
        path=GITHUB,
        text="on: push\njobs: {x: {uses: ./.github/workflows/called.yml}}\n",
        others={".github/workflows/called.yml": github(APPLY, top="on: workflow_call")},
        places=[],
    ),
    Case(
        rule="ci-unserialized",
        about="GitLab without resource group",
        path=GITLAB,
        text="deploy:\n  script: [terraform apply x]\n",
        places=[(1, 1)],
    ),
    Case(
        rule="ci-unserialized",
        about="GitLab with one",
        path=GITLAB,
        text="deploy: {resource_group: p, script: [terraform apply x]}\n",
    ),
    Case(
        rule="ci-unserialized",
        about="an Azure job",
        path=AZURE,
        text="trigger: [main]\njobs:\n  - job: deploy\n    steps: [{bash: terraform apply x}]\n",
        places=[(3, 10)],
    ),
    Case(
        rule="ci-unserialized",
        about="an Azure pipeline with a lock",
        path=AZURE,
        text="trigger: [main]\nlockBehavior: sequential\njobs: [{job: deploy, steps: [{bash: terraform apply x}]}]\n",
    ),
    # ci-group-per-ref
    Case(
        rule="ci-group-per-ref",
        about="github.ref",
        path=GITHUB,
        text=github(APPLY, top="on: push\nconcurrency:\n  group: tf-${{ github.ref }}"),
        places=[(3, 10)],
    ),
    Case(
        rule="ci-group-per-ref",
        about="a pull request's plan meets the branch's apply",
        path=GITHUB,
        text=github(
            "concurrency: ${{ github.workflow }}-${{ github.head_ref || github.run_id }}\n"
            "steps:\n  - run: terraform plan\n  - run: terraform apply x\n    if: github.ref == 'refs/heads/main'",
            top="on: {push: {branches: [main]}, pull_request: {}}",
        ),
        places=[(5, 18)],
    ),
    Case(
        rule="ci-group-per-ref",
        about="one branch only, so the group is always the same",
        path=GITHUB,
        text=github("concurrency: tf-${{ github.ref }}\n" + APPLY, top="on: {push: {branches: [main]}}"),
    ),
    Case(
        rule="ci-group-per-ref",
        about="plans that take no lock meet nobody",
        path=GITHUB,
        text=github(
            "concurrency: tf-${{ github.ref }}\nsteps: [{run: terraform plan -lock=false}]", top="on: pull_request"
        ),
    ),
    Case(
        rule="ci-group-per-ref",
        about="a module's test plans and deploys nothing",
        path=GITHUB,
        text=github("concurrency: tf-${{ github.ref }}\nsteps: [{run: terraform plan}]"),
    ),
    Case(
        rule="ci-group-per-ref",
        about="a workspace for each branch",
        path=GITHUB,
        text=github(
            "concurrency: tf-${{ github.ref }}\nsteps:\n"
            "  - run: terraform workspace select ${{ github.head_ref }}\n  - run: terraform apply x"
        ),
    ),
    Case(
        rule="ci-group-per-ref",
        about="a workspace that nobody can know",
        path=GITHUB,
        text=github(
            "concurrency: tf-${{ github.ref }}\nsteps:\n"
            '  - run: terraform workspace select "$WS"\n  - run: terraform apply x'
        ),
    ),
    Case(
        rule="ci-group-per-ref",
        about="a state for each matrix value",
        path=GITHUB,
        text=github(
            "concurrency: tf-${{ github.ref }}\nsteps:\n  - run: terraform apply x\n"
            "    working-directory: ${{ matrix.dir }}"
        ),
        places=[(5, 18)],
    ),
    Case(
        rule="ci-group-per-ref",
        about="a group named after the state",
        path=GITHUB,
        text=github("concurrency: tf-${{ matrix.state }}\n" + APPLY),
    ),
    Case(
        rule="ci-group-per-ref",
        about="interlock queues by itself",
        path=GITHUB,
        text=github("concurrency: tf-${{ github.ref }}\nsteps: [{run: interlock apply . --plan x}]"),
    ),
    Case(
        rule="ci-group-per-ref",
        about="GitLab",
        path=GITLAB,
        text="deploy:\n  resource_group: tf/$CI_COMMIT_REF_NAME\n  script: [terraform apply x]\n",
        places=[(2, 19)],
    ),
    Case(
        rule="ci-group-per-ref",
        about="GitLab, one branch only",
        path=GITLAB,
        text="deploy:\n  resource_group: tf/$CI_COMMIT_REF_NAME\n  script: [terraform apply x]\n  only: [main]\n",
    ),
    # ci-cancel-in-progress
    Case(
        rule="ci-cancel-in-progress",
        about="an apply",
        path=GITHUB,
        text=github("concurrency:\n  group: tf\n  cancel-in-progress: true\n" + APPLY),
        places=[(7, 27)],
    ),
    Case(
        rule="ci-cancel-in-progress",
        about="only plans",
        path=GITHUB,
        text=github("concurrency: {group: tf, cancel-in-progress: true}\nsteps: [{run: terraform plan}]"),
    ),
    Case(
        rule="ci-cancel-in-progress",
        about="an expression may spare the apply",
        path=GITHUB,
        text=github(
            "concurrency:\n  group: tf\n  cancel-in-progress: ${{ github.event_name == 'pull_request' }}\n" + APPLY
        ),
    ),
    Case(
        rule="ci-cancel-in-progress",
        about="GitLab",
        path=GITLAB,
        text="default: {interruptible: true}\ndeploy: {script: [terraform apply x]}\n",
        places=[(1, 26)],
    ),
    Case(
        rule="ci-cancel-in-progress",
        about="GitLab, switched off for the apply",
        path=GITLAB,
        text="default: {interruptible: true}\ndeploy: {interruptible: false, script: [terraform apply x]}\n",
    ),
    # ci-pending-dropped
    Case(
        rule="ci-pending-dropped",
        about="the default",
        path=GITHUB,
        text=github("concurrency: tf-prod\n" + APPLY),
        places=[(5, 18)],
    ),
    Case(
        rule="ci-pending-dropped",
        about="queue: single",
        path=GITHUB,
        text=github("concurrency:\n  group: tf\n  queue: single\n" + APPLY),
        places=[(6, 14)],
    ),
    Case(
        rule="ci-pending-dropped",
        about="queue: max",
        path=GITHUB,
        text=github("concurrency: {group: tf, queue: max}\n" + APPLY),
    ),
    Case(
        rule="ci-pending-dropped",
        about="a group of one run never has a second",
        path=GITHUB,
        text=github("concurrency: tf-${{ github.run_id }}\n" + APPLY),
    ),
    Case(
        rule="ci-pending-dropped",
        about="previews may be dropped",
        path=GITHUB,
        text=github("concurrency: tf\nsteps: [{run: terraform plan}]"),
    ),
    # ci-gitlab-unordered
    Case(
        rule="ci-gitlab-unordered",
        about="nothing sets the mode",
        path=GITLAB,
        text="deploy:\n  resource_group: prod\n  script: [terraform apply x]\n",
        places=[(2, 19)],
    ),
    Case(
        rule="ci-gitlab-unordered",
        about="another job sets it",
        path=GITLAB,
        text="deploy: {resource_group: p, script: [terraform apply x]}\n"
        "mode: {script: ['curl -X PUT $URL -d process_mode=oldest_first']}\n",
    ),
    # ci-azure-run-latest
    Case(
        rule="ci-azure-run-latest",
        about="runLatest written down",
        path=AZURE,
        text="trigger: [main]\nstages:\n  - stage: a\n    lockBehavior: runLatest\n    jobs:\n      - job: b\n"
        "        steps: [{bash: terraform apply x}]\n",
        places=[(4, 19)],
    ),
    Case(
        rule="ci-azure-run-latest",
        about="a deployment of something else",
        path=AZURE,
        text="trigger: [main]\njobs: [{deployment: d, environment: e, strategy: {runOnce: {deploy: {steps: "
        "[{bash: terraform plan}]}}}}]\n",
    ),
    # ci-lock-disabled
    Case(
        rule="ci-lock-disabled",
        about="on the command line",
        path=GITHUB,
        text=github("steps:\n  - run: terraform apply -input=false -lock=false x"),
        places=[(6, 43)],
    ),
    Case(
        rule="ci-lock-disabled",
        about="through the environment of the job",
        path=GITHUB,
        text=github("env: {TF_CLI_ARGS: -lock=false}\n" + APPLY),
        places=[(7, 14)],
    ),
    Case(
        rule="ci-lock-disabled",
        about="a plan writes nothing",
        path=GITHUB,
        text=github("steps: [{run: terraform plan -lock=false}]"),
    ),
    Case(
        rule="ci-lock-disabled",
        about="in a script that a step calls",
        path=GITLAB,
        text="deploy: {script: [./deploy.sh]}\n",
        others={"deploy.sh": "set -e\nterraform import -lock=false a b\n"},
    ),
    Case(
        rule="ci-lock-disabled",
        about="in a task's options",
        path=AZURE,
        text="trigger: [main]\nsteps:\n  - task: TerraformTaskV4@4\n    inputs:\n      command: apply\n"
        "      commandOptions: -lock=false\n",
        places=[(6, 23)],
    ),
    # ci-no-lock-timeout
    Case(
        rule="ci-no-lock-timeout",
        about="plan and apply",
        path=GITHUB,
        text=github("steps:\n  - run: |\n      terraform plan\n      terraform apply x"),
        places=[(7, 11), (8, 11)],
    ),
    Case(
        rule="ci-no-lock-timeout",
        about="set for all by the environment",
        path=GITHUB,
        text=github("env: {TF_CLI_ARGS_plan: -lock-timeout=5m}\nsteps: [{run: terraform plan}]"),
    ),
    Case(
        rule="ci-no-lock-timeout",
        about="terragrunt has its own files",
        path=GITHUB,
        text=github("steps: [{run: terragrunt apply}]"),
    ),
    Case(
        rule="ci-no-lock-timeout",
        about="interlock waits by itself",
        path=GITHUB,
        text=github("steps: [{run: interlock plan .}]"),
    ),
    Case(rule="ci-no-lock-timeout", about="init takes no lock", path=GITHUB, text=github("steps: [{run: tofu init}]")),
    # ci-parallelism
    Case(
        rule="ci-parallelism",
        about="more than the default pool",
        path=GITHUB,
        text=github("env: {GENESYSCLOUD_REGION: x}\nsteps: [{run: terraform apply -parallelism=30 x}]"),
        places=[(6, 35)],
    ),
    Case(
        rule="ci-parallelism",
        about="behind interlock's dashes",
        path=GITHUB,
        text=github("env: {GENESYSCLOUD_REGION: x}\nsteps: [{run: interlock apply . --plan x -- -parallelism=30}]"),
        places=[(6, 49)],
    ),
    Case(
        rule="ci-parallelism",
        about="a larger pool",
        path=GITHUB,
        text=github("env: {GENESYSCLOUD_TOKEN_POOL_SIZE: '30'}\nsteps: [{run: terraform apply -parallelism=30 x}]"),
    ),
    Case(
        rule="ci-parallelism",
        about="another provider",
        path=GITHUB,
        text=github("steps: [{run: terraform apply -parallelism=30 x}]"),
    ),
    # ci-unreviewed-apply
    Case(
        rule="ci-unreviewed-apply",
        about="a new plan",
        path=GITHUB,
        text=github("steps:\n  - run: terraform apply -input=false -auto-approve"),
        places=[(6, 43)],
    ),
    Case(
        rule="ci-unreviewed-apply",
        about="somebody types yes",
        path=GITHUB,
        text=github("steps:\n  - run: yes yes | terraform apply"),
        places=[(6, 24)],
    ),
    Case(
        rule="ci-unreviewed-apply",
        about="an environment of one branch",
        path=GITHUB,
        text=github("steps: [{run: 'terraform -chdir=previews/${{ github.head_ref }} apply -auto-approve'}]"),
    ),
    Case(
        rule="ci-unreviewed-apply",
        about="refresh only",
        path=GITHUB,
        text=github("steps: [{run: terraform apply -refresh-only -auto-approve}]"),
    ),
    Case(
        rule="ci-unreviewed-apply",
        about="a plan of another job that never arrives",
        path=GITHUB,
        text="on: push\njobs:\n  plan: {steps: [{run: terraform plan -out=x}]}\n"
        "  apply:\n    needs: plan\n    steps:\n      - run: terraform apply x\n",
        places=[(7, 14)],
    ),
    Case(
        rule="ci-unreviewed-apply",
        about="a plan that is downloaded",
        path=GITHUB,
        text="on: push\njobs:\n  apply:\n    steps:\n      - uses: actions/download-artifact@v4\n"
        "      - run: terraform apply x\n",
    ),
    Case(
        rule="ci-unreviewed-apply",
        about="GitLab hands artifacts on by itself",
        path=GITLAB,
        text="plan: {stage: a, script: [terraform plan -out=x], artifacts: {paths: [x]}}\n"
        "apply: {stage: b, script: [terraform apply x]}\n",
    ),
    Case(
        rule="ci-unreviewed-apply",
        about="GitLab told not to",
        path=GITLAB,
        text="apply:\n  dependencies: []\n  script:\n    - terraform apply x\n",
        places=[(4, 7)],
    ),
    Case(
        rule="ci-unreviewed-apply",
        about="Azure's task approves by itself",
        path=AZURE,
        text="trigger: [main]\nsteps: [{task: TerraformTaskV4@4, inputs: {command: apply}}]\n",
        places=[(2, 16)],
    ),
    # ci-force-unlock
    Case(
        rule="ci-force-unlock",
        about="in a script",
        path=GITHUB,
        text=github("steps:\n  - run: terraform force-unlock -force $ID || true"),
        places=[(6, 14)],
    ),
    Case(
        rule="ci-force-unlock",
        about="the lock item itself",
        path=GITHUB,
        text=github(
            "steps:\n  - run: terraform init\n  - run: |\n      aws dynamodb delete-item --table-name t "
            '--key \'{"LockID": {"S": "b/k"}}\''
        ),
        places=[(8, 11)],
    ),
    Case(
        rule="ci-force-unlock",
        about="other items of DynamoDB",
        path=GITHUB,
        text=github("steps:\n  - run: terraform init\n  - run: aws dynamodb delete-item --table-name t --key x"),
    ),
    # ci-step-without-credentials
    Case(
        rule="ci-step-without-credentials",
        about="by an earlier step",
        path=GITHUB,
        text=github(
            "steps:\n  - uses: aws-actions/configure-aws-credentials@v4\n  - run: terraform plan\n"
            "  - run: terraform apply x\n    env: {AWS_ACCESS_KEY_ID: a, AWS_SECRET_ACCESS_KEY: b}"
        ),
    ),
    Case(
        rule="ci-step-without-credentials",
        about="an earlier step may bring anything",
        path=GITHUB,
        text=github(
            "steps:\n  - uses: hashicorp/vault-action@v3\n  - run: terraform plan\n"
            "  - run: terraform apply x\n    env: {GENESYSCLOUD_ACCESS_TOKEN: a}"
        ),
    ),
    Case(
        rule="ci-step-without-credentials",
        about="another way to log in",
        path=GITHUB,
        text=github(
            "steps:\n  - run: terraform plan\n    env: {GENESYSCLOUD_ACCESS_TOKEN: a}\n  - run: terraform apply x\n"
            "    env: {GENESYSCLOUD_OAUTHCLIENT_ID: a, GENESYSCLOUD_OAUTHCLIENT_SECRET: b}"
        ),
    ),
    Case(
        rule="ci-step-without-credentials",
        about="half of them",
        path=GITHUB,
        text=github(
            "steps:\n  - name: Plan\n    run: terraform plan\n    env: {GENESYSCLOUD_OAUTHCLIENT_ID: a}\n"
            "  - run: terraform apply x\n"
            "    env: {GENESYSCLOUD_OAUTHCLIENT_ID: a, GENESYSCLOUD_OAUTHCLIENT_SECRET: b}"
        ),
        places=[(6, 9)],
    ),
    Case(
        rule="ci-step-without-credentials",
        about="in another job",
        path=GITHUB,
        text="on: push\njobs:\n  plan:\n    steps:\n      - run: terraform plan\n  apply:\n"
        "    env: {GENESYSCLOUD_ACCESS_TOKEN: a}\n    steps:\n      - run: terraform apply x\n",
        places=[(5, 9)],
    ),
    Case(
        rule="ci-step-without-credentials",
        about="another directory needs other credentials",
        path=GITHUB,
        text=github(
            "steps:\n  - run: terraform -chdir=a plan\n  - run: terraform -chdir=b apply x\n"
            "    env: {GENESYSCLOUD_ACCESS_TOKEN: a}"
        ),
    ),
    Case(
        rule="ci-step-without-credentials",
        about="a secret that Terraform does not read",
        path=GITHUB,
        text=github(
            "steps:\n  - run: terraform plan\n  - run: terraform apply x\n    env: {SLACK: '${{ secrets.SLACK }}'}"
        ),
    ),
    Case(
        rule="ci-step-without-credentials",
        about="a variable of the configuration",
        path=GITHUB,
        text=github(
            "steps:\n  - run: terraform plan\n  - run: terraform apply x\n    env: {TF_VAR_key: '${{ secrets.K }}'}"
        ),
        places=[(6, 9)],
    ),
    # ci-signal-lost
    Case(
        rule="ci-signal-lost",
        about="an exec-ed apply hears the signal",
        path=GITHUB,
        text=github("steps: [{run: exec terraform apply x}]"),
    ),
    Case(
        rule="ci-signal-lost",
        about="setup-terraform's wrapper does not",
        path=GITHUB,
        text=github("steps:\n  - uses: hashicorp/setup-terraform@v3\n  - run: exec terraform apply x"),
        places=[(7, 19)],
    ),
    Case(
        rule="ci-signal-lost",
        about="without the wrapper",
        path=GITHUB,
        text=github(
            "steps:\n  - uses: hashicorp/setup-terraform@v3\n    with: {terraform_wrapper: false}\n"
            "  - run: exec terraform apply x"
        ),
    ),
    Case(
        rule="ci-signal-lost",
        about="a trap that forwards",
        path=GITHUB,
        text=github(
            "steps:\n  - run: |\n      terraform apply x & child=$!\n      trap 'kill -INT $child' INT TERM\n"
            "      wait $child"
        ),
    ),
    Case(
        rule="ci-signal-lost",
        about="a plan changes nothing",
        path=GITHUB,
        text=github("steps: [{run: terraform plan}]"),
    ),
    Case(
        rule="ci-signal-lost",
        about="interlock without a step that waits",
        path=GITHUB,
        text=github("steps:\n  - run: exec interlock apply . --plan x\n  - run: interlock wait"),
        places=[(6, 19)],
    ),
    Case(
        rule="ci-signal-lost",
        about="interlock on GitLab",
        path=GITLAB,
        text="deploy: {script: [interlock apply . --plan x], after_script: [interlock wait]}\n",
    ),
    Case(
        rule="ci-signal-lost",
        about="GitLab signals the script's processes",
        path=GITLAB,
        text="deploy: {script: [terraform apply x]}\n",
    ),
    Case(
        rule="ci-signal-lost",
        about="Azure's task",
        path=AZURE,
        text="trigger: [main]\nsteps: [{task: TerraformTaskV4@4, inputs: {command: apply, commandOptions: x}}]\n",
        places=[(2, 16)],
    ),
    # ci-timeout
    Case(rule="ci-timeout", about="none", path=GITHUB, text=github(APPLY), places=[(3, 3)]),
    Case(
        rule="ci-timeout",
        about="one on the step",
        path=GITHUB,
        text=github("steps: [{run: terraform apply x, timeout-minutes: 60}]"),
    ),
    Case(
        rule="ci-timeout",
        about="shorter than the waiting",
        path=GITHUB,
        text=github("timeout-minutes: 15\nsteps: [{run: terraform apply -lock-timeout=20m x}]"),
        places=[(5, 22)],
    ),
    Case(
        rule="ci-timeout",
        about="an expression",
        path=GITHUB,
        text=github("timeout-minutes: ${{ inputs.minutes }}\n" + APPLY),
    ),
    Case(
        rule="ci-timeout",
        about="GitLab's project ends it after an hour",
        path=GITLAB,
        text="a: {script: [terraform apply x]}\n",
        places=[(1, 1)],
    ),
    Case(rule="ci-timeout", about="GitLab, set", path=GITLAB, text="a: {timeout: 3h, script: [terraform apply x]}\n"),
    Case(
        rule="ci-timeout",
        about="GitLab, too short",
        path=GITLAB,
        text="a:\n  timeout: 10 minutes\n  script: [terraform apply -lock-timeout=1h x]\n",
        places=[(2, 12)],
    ),
    Case(
        rule="ci-timeout",
        about="Azure, switched off",
        path=AZURE,
        text="trigger: [main]\njobs:\n  - job: a\n    timeoutInMinutes: 0\n    steps: [{bash: terraform apply x}]\n",
        places=[(4, 23)],
    ),
    # ci-retry-no-backoff
    Case(
        rule="ci-retry-no-backoff",
        about="a busy loop",
        path=GITHUB,
        text=github("steps:\n  - run: |\n      for i in 1 2 3; do\n        terraform apply x && break\n      done"),
        places=[(7, 11)],
    ),
    Case(
        rule="ci-retry-no-backoff",
        about="once more at once",
        path=GITHUB,
        text=github("steps:\n  - run: terraform apply x || terraform apply x"),
        places=[(6, 35)],
    ),
    Case(
        rule="ci-retry-no-backoff",
        about="a loop over modules",
        path=GITHUB,
        text=github("steps:\n  - run: for d in a b; do terraform -chdir=$d apply x; done"),
    ),
    Case(
        rule="ci-retry-no-backoff",
        about="init may be repeated",
        path=GITHUB,
        text=github("steps:\n  - run: terraform init || terraform init"),
    ),
    Case(
        rule="ci-retry-no-backoff",
        about="GitLab's retry of an apply",
        path=GITLAB,
        text="a:\n  retry: 2\n  script: [terraform apply x]\n",
        places=[(2, 10)],
    ),
    Case(
        rule="ci-retry-no-backoff",
        about="GitLab's retry of a lost machine",
        path=GITLAB,
        text="a:\n  retry: {max: 2, when: runner_system_failure}\n  script: [terraform apply x]\n",
    ),
    # ci-long-lived-secret
    Case(
        rule="ci-long-lived-secret",
        about="an action's input",
        path=GITHUB,
        text=github(
            "steps:\n  - uses: aws-actions/configure-aws-credentials@v4\n"
            "    with: {aws-access-key-id: '${{ secrets.A }}', aws-secret-access-key: '${{ secrets.B }}'}\n"
            "  - run: terraform plan"
        ),
        places=[(7, 78)],
    ),
    Case(
        rule="ci-long-lived-secret",
        about="an output of an earlier step is short-lived",
        path=GITHUB,
        text=github("env: {AWS_SECRET_ACCESS_KEY: '${{ steps.a.outputs.b }}'}\nsteps: [{run: terraform plan}]"),
    ),
    Case(
        rule="ci-long-lived-secret",
        about="a simulated cloud",
        path=GITHUB,
        text=github("env: {AWS_SECRET_ACCESS_KEY: test}\nsteps: [{run: terraform plan}]"),
    ),
    Case(
        rule="ci-long-lived-secret",
        about="a Genesys Cloud client secret has no alternative",
        path=GITHUB,
        text=github("env: {GENESYSCLOUD_OAUTHCLIENT_SECRET: '${{ secrets.A }}'}\nsteps: [{run: terraform plan}]"),
    ),
    Case(
        rule="ci-long-lived-secret",
        about="a workflow without Terraform is none of our business",
        path=GITHUB,
        text=github("env: {AWS_SECRET_ACCESS_KEY: '${{ secrets.A }}'}\nsteps: [{run: npm test}]"),
    ),
    Case(
        rule="ci-long-lived-secret",
        about="Azure",
        path=AZURE,
        text="trigger: [main]\nsteps:\n  - bash: terraform plan\n    env: {ARM_CLIENT_SECRET: $(SECRET)}\n",
        places=[(4, 11)],
    ),
    # ci-unpinned-action
    Case(
        rule="ci-unpinned-action",
        about="tags, branches and images",
        path=GITHUB,
        text=github(
            "steps:\n  - uses: actions/checkout@v4\n  - uses: a/b@main\n  - uses: docker://alpine:3\n"
            "  - run: terraform plan"
        ),
        places=[(6, 15), (7, 15), (8, 15)],
    ),
    Case(
        rule="ci-unpinned-action",
        about="commits, digests and our own",
        path=GITHUB,
        text=github(
            f"steps:\n  - uses: a/b@{'0' * 40}\n  - uses: docker://alpine@sha256:{'0' * 64}\n"
            "  - uses: ./.github/actions/x\n  - run: terraform plan"
        ),
    ),
    Case(
        rule="ci-unpinned-action",
        about="a GitLab component",
        path=GITLAB,
        text="include:\n  - component: x/y@~latest\n  - component: x/z@1.2.3\na: {script: [terraform plan]}\n",
        places=[(2, 16)],
    ),
    # ci-fork-secrets
    Case(
        rule="ci-fork-secrets",
        about="the head of somebody's pull request",
        path=GITHUB,
        text=github(
            "steps:\n  - uses: actions/checkout@v4\n    with:\n      ref: ${{ github.head_ref }}\n"
            "  - run: terraform plan",
            top="on: pull_request_target",
        ),
        places=[(8, 16)],
    ),
    Case(
        rule="ci-fork-secrets",
        about="the base is ours",
        path=GITHUB,
        text=github("steps: [{uses: actions/checkout@v4}, {run: terraform plan}]", top="on: pull_request_target"),
    ),
    Case(
        rule="ci-fork-secrets",
        about="only our own branches",
        path=GITHUB,
        text=github(
            "if: github.event.pull_request.head.repo.full_name == github.repository\nsteps:\n"
            "  - uses: actions/checkout@v4\n    with: {ref: '${{ github.head_ref }}'}\n  - run: terraform plan",
            top="on: pull_request_target",
        ),
    ),
    # ci-plan-exposed
    Case(
        rule="ci-plan-exposed",
        about="a state and a plan",
        path=GITHUB,
        text=github(
            "steps:\n  - run: terraform plan -out=out/p\n  - uses: actions/upload-artifact@v4\n    with:\n"
            "      path: |\n        out/p\n        terraform.tfstate\n        out/p.sealed\n        tfplan.txt"
        ),
        places=[(10, 13), (11, 13)],
    ),
    Case(
        rule="ci-plan-exposed",
        about="GitLab, everybody",
        path=GITLAB,
        text="a:\n  script: [terraform plan -out=p]\n  artifacts: {paths: [p]}\n",
        places=[(3, 23)],
    ),
    Case(
        rule="ci-plan-exposed",
        about="GitLab, members only",
        path=GITLAB,
        text="a:\n  script: [terraform plan -out=p]\n  artifacts: {paths: [p], access: developer}\n",
    ),
    Case(
        rule="ci-plan-exposed",
        about="Azure",
        path=AZURE,
        text="trigger: [main]\nsteps:\n  - bash: terraform plan -out=p\n  - publish: $(Build.SourcesDirectory)/p\n",
        places=[(4, 14)],
    ),
    # ci-terraform-unpinned
    Case(
        rule="ci-terraform-unpinned",
        about="nothing said",
        path=GITHUB,
        text=github("steps:\n  - uses: hashicorp/setup-terraform@v3\n  - run: terraform plan"),
        places=[(6, 15)],
    ),
    Case(
        rule="ci-terraform-unpinned",
        about="a range, and a variable that holds one",
        path=GITHUB,
        text=github(
            "env: {V: ~1.5}\nsteps:\n  - uses: opentofu/setup-opentofu@v1\n    with: {tofu_version: 1.10.x}\n"
            "  - uses: hashicorp/setup-terraform@v3\n    with: {terraform_version: '${{ env.V }}'}\n"
            "  - run: terraform plan"
        ),
        places=[(8, 30), (10, 35)],
    ),
    Case(
        rule="ci-terraform-unpinned",
        about="exact, from a file, or unknown",
        path=GITHUB,
        text=github(
            "env: {V: 1.9.8}\nsteps:\n  - uses: hashicorp/setup-terraform@v3\n    with: {terraform_version: 1.9.8}\n"
            "  - uses: hashicorp/setup-terraform@v3\n    with: {terraform_version: '${{ env.V }}'}\n"
            "  - uses: hashicorp/setup-terraform@v3\n    with: {terraform_version: '${{ inputs.v }}'}\n"
            "  - uses: opentofu/setup-opentofu@v1\n    with: {tofu_version_file: .v}\n  - run: terraform plan"
        ),
    ),
    Case(
        rule="ci-terraform-unpinned",
        about="images",
        path=GITLAB,
        text="a: {image: hashicorp/terraform:latest, script: [terraform plan]}\n"
        "b: {image: 'ghcr.io/opentofu/opentofu:1.10.0', script: [tofu plan]}\n"
        "c: {image: alpine, script: [tofu plan]}\n",
        places=[(1, 12)],
    ),
    Case(
        rule="ci-terraform-unpinned",
        about="Azure's installer",
        path=AZURE,
        text="trigger: [main]\nsteps:\n  - task: TerraformInstaller@1\n    inputs: {terraformVersion: latest}\n"
        "  - bash: terraform plan\n",
        places=[(4, 32)],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}: {case.about}")
def test_a_rule_fires_where_it_must_and_nowhere_else(case: Case) -> None:
    places = found({case.path: case.text, **case.others}, case.rule)
    assert [(line, column) for path, line, column in places if path == case.path] == case.places


@pytest.mark.parametrize("rule", CI_RULES, ids=lambda rule: rule.name)
def test_a_rules_own_examples_hold(rule: object) -> None:
    from interlock.lint import Rule

    assert isinstance(rule, Rule)
    assert len(found(rule.bad, rule.name)) == 1
    assert found(rule.good, rule.name) == []


def test_the_rules_of_the_issue_are_all_here_in_order() -> None:
    assert [rule.name for rule in CI_RULES] == [
        "ci-unserialized", "ci-group-per-ref", "ci-cancel-in-progress", "ci-pending-dropped", "ci-gitlab-unordered",
        "ci-azure-run-latest", "ci-lock-disabled", "ci-no-lock-timeout", "ci-parallelism", "ci-unreviewed-apply",
        "ci-plan-of-newest-run", "ci-key-beside-change", "ci-force-unlock", "ci-step-without-credentials",
        "ci-signal-lost", "ci-timeout", "ci-retry-no-backoff", "ci-long-lived-secret", "ci-unpinned-action",
        "ci-unpinned-install", "ci-fork-secrets", "ci-plan-exposed", "ci-terraform-unpinned",
            "ci-applied-twice",
    ]  # fmt: skip


def test_a_place_in_a_called_file_is_reported_once_for_all_callers() -> None:
    called = github(APPLY, top="on: workflow_call")
    caller = (
        "on: push\njobs:\n  x: {uses: ./.github/workflows/called.yml}\n  y: {uses: ./.github/workflows/called.yml}\n"
    )
    files = {GITHUB: caller, ".github/workflows/called.yml": called}
    assert found(files, "ci-unserialized") == [(".github/workflows/called.yml", 3, 3)]


def test_a_script_that_a_step_calls_is_reported_in_its_own_file() -> None:
    files = {GITLAB: "a: {script: [./d.sh]}\n", "d.sh": "set -e\nterraform import -lock=false a b\n"}
    assert found(files, "ci-lock-disabled") == [("d.sh", 2, 18)]


def test_a_file_without_terraform_is_nobodys_business() -> None:
    files = {GITHUB: github("concurrency: ${{ github.ref }}\nsteps: [{uses: a/b@v1}, {run: npm publish}]")}
    assert [rule.name for rule in CI_RULES if found(files, rule.name)] == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("concurrency: tf-prod", "concurrency: {group: tf-prod, queue: max}"),
        ("concurrency: tf-${{ vars.S }}", 'concurrency: {group: "tf-${{ vars.S }}", queue: max}'),
        ("concurrency:\n  group: tf-${{ vars.S }}", "concurrency:\n  group: tf-${{ vars.S }}\n  queue: max"),
        (
            "concurrency: {group: 'tf', cancel-in-progress: false}",
            "concurrency: {group: 'tf', queue: max, cancel-in-progress: false}",
        ),
    ],
)
def test_the_fix_for_dropped_runs_keeps_the_files_style(before: str, after: str) -> None:
    from interlock.lint.engine import Request, fix

    rules = tuple(rule for rule in CI_RULES if rule.name == "ci-pending-dropped")
    text = github(APPLY, top=f"on: push\n{before}")
    changed = fix(MemoryTree({GITHUB: text}), Request(rules=rules))
    assert changed[GITHUB].decode() == text.replace(before, after)


def test_a_queue_of_another_kind_is_left_to_a_person() -> None:
    from interlock.lint.engine import Request, fix

    rules = tuple(rule for rule in CI_RULES if rule.name == "ci-pending-dropped")
    text = github(APPLY, top="on: push\nconcurrency: {group: tf, queue: single}")
    assert fix(MemoryTree({GITHUB: text}), Request(rules=rules)) == {}


def test_the_fix_for_a_missing_lock_timeout_goes_behind_the_verb() -> None:
    from interlock.lint.engine import Request, fix

    rules = tuple(rule for rule in CI_RULES if rule.name == "ci-no-lock-timeout")
    text = github("steps:\n  - run: |\n      terraform -chdir=plan plan -out=x\n      tofu apply x")
    changed = fix(MemoryTree({GITHUB: text}), Request(rules=rules))
    wanted = text.replace("plan plan", "plan plan -lock-timeout=20m").replace(
        "tofu apply", "tofu apply -lock-timeout=20m"
    )
    assert changed[GITHUB].decode() == wanted


SCRIPT = {"scripts/del.sh": "terraform destroy -auto-approve\n", "scripts/Makefile": "all:\n\tterraform destroy\n"}


@pytest.mark.parametrize(
    "line",
    [
        "./scripts/del.sh",
        "cd scripts && ./del.sh",
        "cd scripts\n./del.sh",
        "cd scripts && make all",
        "pushd scripts\nbash del.sh\npopd",
        "(cd scripts && ./del.sh)",
        "cd other\ncd -\n./scripts/del.sh",
        "pushd other\npopd\n./scripts/del.sh",
        'cd "$GITHUB_WORKSPACE/scripts"\n./del.sh',
        "cd ${{ github.workspace }}/scripts\n./del.sh",
    ],
)
def test_what_a_script_does_is_seen_wherever_a_step_has_gone(line: str) -> None:
    text = github("steps:\n  - run: |\n" + "".join(f"      {part}\n" for part in line.split("\n")).rstrip("\n"))
    assert found({GITHUB: text, **SCRIPT}, "ci-timeout") == [(GITHUB, 3, 3)]


def test_a_script_that_goes_to_its_own_folder_is_followed_there() -> None:
    files = {
        GITHUB: github("steps:\n  - run: tools/all.sh"),
        "tools/all.sh": '#!/bin/bash\ncd "$(dirname "$0")"\n./inner.sh\n',
        "tools/inner.sh": "terraform apply -auto-approve\n",
    }
    assert found(files, "ci-timeout") == [(GITHUB, 3, 3)]


@pytest.mark.parametrize(
    ("inputs", "fires"),
    [("max_attempts: 5", True), ("max_attempts: 5, retry_wait_seconds: 90", False), ("max_attempts: 1", False)],
)
def test_an_action_that_tries_again_is_a_retry(inputs: str, fires: bool) -> None:
    step = f"steps:\n  - uses: nick-fields/retry@v3\n    with: {{{inputs}, command: cd scripts && ./del.sh}}"
    assert bool(found({GITHUB: github(step), **SCRIPT}, "ci-retry-no-backoff")) is fires


def lint_rules(files: Mapping[str, str]) -> dict[str, str]:
    report = lint(MemoryTree(files), Request())
    return {item.finding.rule: item.finding.fix for item in report.findings}


def test_many_operations_with_one_fixed_token_are_found() -> None:
    flag = "steps:\n  - run: terraform apply -parallelism=50 plan.bin"
    config = 'provider "genesyscloud" {\n  access_token = var.token\n}\n'
    assert "one fixed token" not in str(lint_rules({GITHUB: github(flag)}))
    assert "ci-parallelism" in lint_rules({GITHUB: github(flag), "main.tf": config})
    assert "ci-parallelism" in lint_rules({GITHUB: github("env: {GENESYSCLOUD_ACCESS_TOKEN: x}\n" + flag)})
    few = flag.replace("50", "8")
    assert "ci-parallelism" not in lint_rules({GITHUB: github(few), "main.tf": config})


def test_backend_remote_is_not_told_to_save_a_plan() -> None:
    files = {
        GITHUB: github("steps:\n  - run: terraform apply -auto-approve"),
        "main.tf": 'terraform {\n  backend "remote" {\n    organization = "acme"\n  }\n}\n',
    }
    advice = lint_rules(files)["ci-unreviewed-apply"]
    assert "cloud" in advice
    assert "Write the plan with -out" not in advice


def test_a_module_without_resources_and_backend_is_applied_by_nobody() -> None:
    """Pipelines "apply" such a module to read what it computes; nothing of it can be locked or lost."""
    use = "steps:\n  - run: terraform -chdir=infra/${{ inputs.app }}/config apply -auto-approve"
    config = {"infra/a/config/main.tf": 'output "x" {\n  value = 1\n}\n'}
    assert lint_rules({GITHUB: github(use), **config}) == {}
    made = {"infra/b/config/main.tf": 'resource "terraform_data" "x" {}\n'}
    assert "ci-unserialized" in lint_rules({GITHUB: github(use), **config, **made})


def test_one_script_for_plan_and_apply_is_taken_at_its_word() -> None:
    script = {"b.sh": 'if [ "$1" = plan ]; then terraform plan -lock-timeout=5m; else terraform apply; fi\n'}
    assert "ci-unserialized" not in lint_rules({GITHUB: github("steps:\n  - run: bash b.sh plan"), **script})
    assert "ci-unserialized" in lint_rules({GITHUB: github("steps:\n  - run: bash b.sh apply"), **script})


def test_a_group_of_one_pull_request_may_drop_an_older_push() -> None:
    job = "concurrency: {group: 'x-${{ github.ref }}'}\n" + APPLY
    assert found({GITHUB: github(job, top="on: pull_request")}, "ci-pending-dropped") == []
    assert found({GITHUB: github(job, top="on: push")}, "ci-pending-dropped") != []


@pytest.mark.parametrize(
    ("before", "line", "fires"),
    [
        ("npm ci", "npx playwright install", False),
        ("echo", "npx playwright install", True),
        ("docker load -i app.tar", "docker run -d app:latest", False),
        ("echo", "docker run -d app:latest", True),
        ("docker load -i app.tar", "docker run -d acme/app:latest", True),
    ],
)
def test_what_the_job_brought_itself_is_no_loose_install(before: str, line: str, fires: bool) -> None:
    steps = f"steps:\n  - run: {before}\n  - run: {line}\n  - run: terraform plan"
    assert bool(found({GITHUB: github(steps)}, "ci-unpinned-install")) is fires
