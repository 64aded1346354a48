"""A root module that does not say where its state is."""

from __future__ import annotations

import re
from collections.abc import Iterator

from interlock.hcl import Module
from interlock.lint.finding import Finding, Severity
from interlock.lint.organisation import is_entry
from interlock.lint.rule import Rule, Sources, Subject
from interlock.lint.statestore import lock_tables, state_buckets
from interlock.source.tree import Span

_GENERATORS = frozenset({"terragrunt.hcl", "terragrunt.hcl.json", "cdktf.json", "backend.tf.tmpl", "backend.tf.tpl"})
"""Files beside a module that say that its backend is generated."""


def check(sources: Sources) -> Iterator[Finding]:
    """Yield root modules with resources and without a backend."""
    if sources.generated_by or _is_written_by_ci(sources):
        return
    for module in sources.modules:
        entry = module.is_whole and is_entry(module, sources.place(module)) and not _makes_the_store(module, sources)
        if module.backend is None and entry and not (_is_generated(module) or _is_about_hcp(module)):
            managed = any(resource.mode == "managed" for part in module.walk() for resource in part.resources)
            if managed or any(call.module is None for call in module.calls):
                yield RULE.finding(_place(module), "no backend: the state is a file in the folder of whoever runs it")


def _makes_the_store(module: Module, sources: Sources) -> bool:
    """Say whether a module makes the bucket or table of the others' states: it cannot keep its own there at first."""
    inside = {part.path for part in module.walk()}
    return any(found.module.path in inside for found in (*lock_tables(sources), *state_buckets(sources)))


def _is_written_by_ci(sources: Sources) -> bool:
    """Say whether a pipeline writes backend files before it runs Terraform."""
    return any(
        _WRITTEN.search(step.text) for workflow in sources.workflows for job in workflow.jobs for step in job.steps
    )


_WRITTEN = re.compile(r"(?:>|tee|cp|mv|envsubst|sed)[^\n]{0,200}\b(?:_?backend|_?override)[\w.-]*\.tf\b")


def _is_about_hcp(module: Module) -> bool:
    """Say whether a module manages HCP Terraform itself: there workspaces of a repository need no backend block."""
    return any(provider.name == "tfe" for provider in module.providers)


def _is_generated(module: Module) -> bool:
    return bool(_GENERATORS & set(module.names)) or any(
        "backend" in name and "override" in name for name in module.names
    )


def _place(module: Module) -> Span:
    """Return the `terraform` block, where the backend belongs; else the first provider."""
    blocks = [*module.settings, *(provider.block for provider in module.providers)]
    return blocks[0].header


RULE = Rule(
    name="backend-missing",
    severity=Severity.WARNING,
    subject=Subject.BACKEND,
    what="A root module configures a provider and declares neither a `backend` nor a `cloud` block.",
    why=(
        "Its state is then a file beside the configuration. Two machines have two states and create everything twice; "
        "a CI job throws its state away when it ends; nothing locks. `interlock apply` keeps such a state for you, "
        "but a plain `terraform apply` does not."
    ),
    fix='add a backend to the terraform block: `backend "http" {}` for Interlock, or `backend "s3"` with a lock',
    bad={
        "main.tf": """\
terraform {
  required_providers {
    genesyscloud = {
      source  = "mypurecloud/genesyscloud"
      version = "~> 1.84"
    }
  }
}

provider "genesyscloud" {}

resource "genesyscloud_routing_skill" "billing" {
  name = "Billing"
}
"""
    },
    good={
        "main.tf": """\
terraform {
  backend "http" {}
  required_providers {
    genesyscloud = {
      source  = "mypurecloud/genesyscloud"
      version = "~> 1.84"
    }
  }
}

provider "genesyscloud" {}

resource "genesyscloud_routing_skill" "billing" {
  name = "Billing"
}
"""
    },
    check=check,
)
