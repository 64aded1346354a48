"""Things that the provider deletes even while others use them."""

from __future__ import annotations

from collections.abc import Iterator

from interlock.genesys.resources import find_force_delete
from interlock.hcl import Resource, constant_flag
from interlock.lint import organisation
from interlock.lint.finding import Finding, Severity
from interlock.lint.rule import Rule, Sources, Subject


def check(sources: Sources) -> Iterator[Finding]:
    """Yield force-deleted resources without `prevent_destroy`."""
    for module in sources.all_modules():
        for resource in organisation.resources(module):
            forced = find_force_delete(resource.type)
            if forced is not None and not _is_protected(resource):
                yield RULE.finding(
                    resource.block.header,
                    f"the provider deletes {resource.key} with {forced.query}, even while flows use it",
                )


def _is_protected(resource: Resource) -> bool:
    return any(
        constant_flag(block.body.get("prevent_destroy")) is not False and "prevent_destroy" in block.body.attributes
        for block in resource.body.blocks("lifecycle")
    )


RULE = Rule(
    name="force-deleted",
    severity=Severity.INFO,
    subject=Subject.RESOURCES,
    what="A queue or data table has no `prevent_destroy`.",
    why=(
        "The provider switches the API's own protection off for these types: a destroy succeeds while flows still name "
        "the object, and calls fail where the flow looks for it. A renamed block or a removed file is enough."
    ),
    fix="add `lifecycle { prevent_destroy = true }` where losing it would hurt",
    bad={"main.tf": 'resource "genesyscloud_routing_queue" "billing" {\n  name = "Billing"\n}\n'},
    good={
        "main.tf": """\
resource "genesyscloud_routing_queue" "billing" {
  name = "Billing"

  lifecycle {
    prevent_destroy = true
  }
}
"""
    },
    check=check,
)
