"""Workflows as guides and public repositories show them, described and written anew, with all that they give."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.ci import read_all
from interlock.lint import Sources
from interlock.lint.rules.ci import CI_RULES
from interlock.source.tree import MemoryTree

WORKFLOW = ".github/workflows/deploy.yml"


def findings(files: Mapping[str, str]) -> list[str]:
    sources = Sources(workflows=read_all(MemoryTree(files), files))
    found = sorted((one for rule in CI_RULES for one in rule.check(sources)), key=lambda one: one.order())
    return [f"{one.span.path.rsplit('/', 1)[-1]}:{one.span.line}:{one.span.column} {one.rule}" for one in found]


def test_a_workflow_grouped_by_ref_whose_plan_has_no_credentials() -> None:
    """The usual guide for this provider: one job, the secrets only where they are needed last."""
    text = """\
name: Deploy Genesys Cloud configuration
on:
  push:
    branches: [main]
  pull_request:
    branches: [main]

concurrency:
  group: genesys-${{ github.ref }}
  cancel-in-progress: false

jobs:
  terraform:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: hashicorp/setup-terraform@v3
        with:
          terraform_version: 1.10.5
      - name: Init
        run: terraform init
      - name: Plan
        run: terraform plan -out=tfplan
      - name: Apply
        if: github.ref == 'refs/heads/main'
        run: terraform apply -auto-approve tfplan
        env:
          GENESYSCLOUD_OAUTHCLIENT_ID: ${{ secrets.GENESYS_ID }}
          GENESYSCLOUD_OAUTHCLIENT_SECRET: ${{ secrets.GENESYS_SECRET }}
          GENESYSCLOUD_REGION: us-east-1
          AWS_ACCESS_KEY_ID: ${{ secrets.AWS_KEY }}
          AWS_SECRET_ACCESS_KEY: ${{ secrets.AWS_SECRET }}
"""
    assert findings({WORKFLOW: text}) == [
        "deploy.yml:9:10 ci-group-per-ref",
        "deploy.yml:9:10 ci-pending-dropped",
        "deploy.yml:13:3 ci-timeout",
        "deploy.yml:16:15 ci-unpinned-action",
        "deploy.yml:17:15 ci-unpinned-action",
        "deploy.yml:22:9 ci-step-without-credentials",
        "deploy.yml:23:14 ci-no-lock-timeout",
        "deploy.yml:26:14 ci-no-lock-timeout",
        "deploy.yml:26:14 ci-signal-lost",
        "deploy.yml:32:11 ci-long-lived-secret",
    ]


def test_a_plan_without_credentials_before_an_apply_with_invented_ones() -> None:
    """The same guide with the provider's invented `refresh_token`: an unknown name is still a missing secret."""
    text = """\
on: {push: {branches: [main]}}
concurrency: {group: genesys, queue: max}
jobs:
  a:
    timeout-minutes: 60
    steps:
      - name: Plan
        run: terraform plan -lock-timeout=5m -out=p
      - name: Apply
        run: exec terraform apply -lock-timeout=5m p
        env:
          GENESYSCLOUD_REFRESH_TOKEN: ${{ secrets.TOKEN }}
"""
    assert findings({WORKFLOW: text}) == ["deploy.yml:7:9 ci-step-without-credentials"]


def test_the_vendors_own_blueprint() -> None:
    """The vendor's blueprint for GitHub Actions (2022): two environments one after the other, each by a local action
    that runs init and an unattended apply in the repository's folder; the state lives in HCP Terraform by workspace."""
    workflow = """\
on:
  push: {branches: [dev, test]}
  workflow_dispatch:
jobs:
  deploy-dev:
    runs-on: ubuntu-latest
    env: {GENESYSCLOUD_OAUTHCLIENT_ID: '${{ secrets.ID }}', TF_WORKSPACE: dev}
    steps:
      - uses: actions/checkout@v2
      - uses: hashicorp/setup-terraform@v1
        with: {cli_config_credentials_token: '${{ secrets.TF_API_TOKEN }}'}
      - uses: ./.github/actions/apply
  test:
    runs-on: ubuntu-latest
    needs: deploy-dev
    steps:
      - run: python scripts/platform_tests.py
"""
    action = """\
name: Apply
runs:
  using: composite
  steps:
    - run: |
        cd $GITHUB_WORKSPACE/terraform
        terraform init
        terraform apply --auto-approve
      shell: bash
"""
    assert findings({WORKFLOW: workflow, ".github/actions/apply/action.yaml": action}) == [
        "action.yaml:8:9 ci-no-lock-timeout",
        "action.yaml:8:9 ci-signal-lost",
        "action.yaml:8:25 ci-unreviewed-apply",
        "deploy.yml:5:3 ci-timeout",
        "deploy.yml:5:3 ci-unserialized",
        "deploy.yml:9:15 ci-unpinned-action",
        "deploy.yml:10:15 ci-terraform-unpinned",
        "deploy.yml:10:15 ci-unpinned-action",
    ]


def test_a_matrix_of_tenants_that_applies_unseen() -> None:
    """A public pattern: one job for each tenant of a matrix, grouped by ref, with a backend key for each tenant."""
    text = """\
on:
  push: {branches: [main, master]}
jobs:
  apply:
    runs-on: self-hosted
    timeout-minutes: 60
    environment: development
    concurrency:
      group: terraform-${{ github.ref }}-dev
      queue: max
    strategy: {matrix: {tenant: [a, b]}}
    env:
      ARM_CLIENT_ID: ${{ secrets.A }}
      ARM_CLIENT_SECRET: ${{ secrets.B }}
    steps:
      - run: terraform init -backend-config="key=${{ matrix.tenant }}-dev.tfstate"
      - run: |
          exec terraform apply -auto-approve \\
            -lock-timeout=10m \\
            -var-file=${{ matrix.tenant }}.tfvars
"""
    assert findings({WORKFLOW: text}) == [
        "deploy.yml:9:14 ci-group-per-ref",
        "deploy.yml:14:7 ci-long-lived-secret",
        "deploy.yml:18:32 ci-unreviewed-apply",
    ]


def test_an_azure_pipeline_that_hands_its_plan_on() -> None:
    """A public pattern: plan in one stage, publish it, apply it in another stage's plain job."""
    text = """\
trigger:
- main
pool:
  vmImage: ubuntu-latest
stages:
- stage: Plan
  jobs:
  - job: Plan
    steps:
    - task: TerraformInstaller@1
      inputs:
        terraformVersion: latest
    - script: |
        terraform init
        terraform plan -out=tfplan
    - publish: tfplan
      artifact: tfplan
- stage: Apply
  dependsOn: Plan
  jobs:
  - job: Apply
    steps:
    - download: current
      artifact: tfplan
    - script: terraform apply -auto-approve $(Pipeline.Workspace)/tfplan/tfplan
"""
    assert findings({"azure-pipelines.yml": text}) == [
        "azure-pipelines.yml:12:27 ci-terraform-unpinned",
        "azure-pipelines.yml:15:9 ci-no-lock-timeout",
        "azure-pipelines.yml:16:16 ci-plan-exposed",
        "azure-pipelines.yml:21:10 ci-unserialized",
        "azure-pipelines.yml:25:15 ci-no-lock-timeout",
        "azure-pipelines.yml:25:15 ci-signal-lost",
    ]


def test_a_gitlab_pipeline_from_a_question_and_answer_page() -> None:
    """A public pattern: before_script changes the folder, the plan goes on as an artifact, apply is by hand."""
    text = """\
stages: [plan, apply]
variables: {TF_ROOT: infra}
image: hashicorp/terraform:1.5
before_script:
  - cd $TF_ROOT
  - terraform init
plan:
  stage: plan
  script:
    - terraform plan -out=plan.tfplan
  artifacts:
    paths:
      - infra/plan.tfplan
apply:
  stage: apply
  retry: 1
  script:
    - terraform apply -auto-approve plan.tfplan
  when: manual
"""
    assert findings({".gitlab-ci.yml": text}) == [
        ".gitlab-ci.yml:3:8 ci-terraform-unpinned",
        ".gitlab-ci.yml:10:7 ci-no-lock-timeout",
        ".gitlab-ci.yml:13:9 ci-plan-exposed",
        ".gitlab-ci.yml:14:1 ci-timeout",
        ".gitlab-ci.yml:14:1 ci-unserialized",
        ".gitlab-ci.yml:16:10 ci-retry-no-backoff",
        ".gitlab-ci.yml:18:7 ci-no-lock-timeout",
    ]


def test_a_jenkins_pipeline_that_plans_and_applies_between_two_questions() -> None:
    """A public pattern: declarative, an `input` before the apply, which is tried three times."""
    text = """\
pipeline {
  agent any
  stages {
    stage('Plan') {
      steps { dir('terraform') { sh 'terraform plan -out=tfplan -input=false' } }
    }
    stage('Apply') {
      steps {
        input message: 'Apply?'
        retry(3) {
          dir('terraform') { sh 'terraform apply -auto-approve' }
        }
        archiveArtifacts artifacts: 'terraform/tfplan'
      }
    }
  }
}
"""
    assert findings({"Jenkinsfile": text}) == [
        "Jenkinsfile:1:1 ci-unserialized",
        "Jenkinsfile:5:38 ci-no-lock-timeout",
        "Jenkinsfile:10:9 ci-retry-no-backoff",
        "Jenkinsfile:11:34 ci-no-lock-timeout",
        "Jenkinsfile:11:50 ci-unreviewed-apply",
        "Jenkinsfile:13:38 ci-plan-exposed",
    ]


def test_a_careful_workflow_with_plain_terraform_has_nothing_to_say() -> None:
    text = """\
on: {push: {branches: [main]}}
permissions: {contents: read, id-token: write}
env: {TF_CLI_ARGS_plan: -lock-timeout=20m, TF_CLI_ARGS_apply: -lock-timeout=20m}
jobs:
  deploy:
    runs-on: ubuntu-24.04
    timeout-minutes: 120
    environment: production
    concurrency: {group: terraform-prod, queue: max}
    env: {GENESYSCLOUD_ACCESS_TOKEN: '${{ secrets.T }}'}
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
      - uses: hashicorp/setup-terraform@dfe3c3f87815947d99a8997f908cb6525fc44e9e # v4.0.1
        with: {terraform_version: 1.11.4, terraform_wrapper: false}
      - run: terraform init
      - run: terraform plan -out=plan.bin
      - run: exec terraform apply plan.bin
"""
    assert findings({WORKFLOW: text}) == []
