"""Rules about Terraform and CI files: what will break before anything runs."""

from interlock.lint.finding import Edit, Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject

__all__ = ["Edit", "Finding", "Rule", "Severity", "Sources", "Subject"]
