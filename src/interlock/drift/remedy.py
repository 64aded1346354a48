"""What a person does after deciding: which lines to change, which blocks to add, which command to run.

Knows: findings, and the configuration as far as it says where a resource stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from interlock.address import parse_address
from interlock.drift.decisions import Choice
from interlock.drift.finding import Attribute, Finding, Kind
from interlock.drift.unmanaged import skeleton
from interlock.foreign_text import one_line
from interlock.hcl import Module, Resource
from interlock.hcl.spelling import import_block


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What to do about one finding.

    Attributes:
        address: Of the finding.
        place: `queues.tf:12` where its block stands; empty when it was not found.
        advice: One sentence.
        change: Lines of configuration; empty when there is nothing to write.
    """

    address: str
    place: str = ""
    advice: str
    change: str = ""


def find_remedy(finding: Finding, choice: Choice, paths: frozenset[str], module: Module | None) -> Remedy:
    """Return what to do after a decision.

    Args:
        finding: What was decided about.
        choice: How.
        paths: Only these attributes; empty for all.
        module: The root module; None when there is no configuration at hand.
    """
    if finding.kind is Kind.UNMANAGED:
        return _for_unmanaged(finding, choice)
    resource, place = _place(finding.address, module)
    if choice is Choice.REVERT:
        return Remedy(address=finding.address, place=place, advice=_reverting(finding))
    if finding.kind is Kind.GONE:
        return _for_gone(finding, place)
    if finding.kind is Kind.CONTENT:
        advice = "the published version is noted as ours; export the flow and put it in place of the file"
        return Remedy(address=finding.address, place=place, advice=advice)
    shown = [each for each in finding.shown if not paths or each.path in paths]
    keyed = resource is not None and _has_instances(resource)
    advice = "change the value in the configuration"
    if keyed:
        advice += "; the block makes several objects, so change what this one's value comes from"
    return Remedy(address=finding.address, place=place, advice=advice, change=_lines(shown))


def imports_of(findings: Iterable[Finding]) -> str:
    """Return `import` blocks with configuration for unmanaged objects, ready to be written to a file."""
    parts = (f"{import_block(each.address, each.object)}\n{each.generated or skeleton(each)}" for each in findings)
    return "\n".join(parts)


def removed_block(address: str) -> str:
    """Return the block that forgets an object; only whole resources can be named in one."""
    named = parse_address(address).config()
    return f"removed {{\n  from = {named}\n\n  lifecycle {{\n    destroy = false\n  }}\n}}\n"


def _for_unmanaged(finding: Finding, choice: Choice) -> Remedy:
    if choice is Choice.ACCEPT:
        return Remedy(address=finding.address, advice="it is not managed, and later scans do not ask again")
    hint = f"; {finding.hint}" if finding.hint else ""
    advice = f"add this to the configuration, review it, and apply{hint}"
    return Remedy(address=finding.address, advice=advice, change=imports_of([finding]))


def _for_gone(finding: Finding, place: str) -> Remedy:
    address = parse_address(finding.address)
    if address.key is not None:
        advice = "take this key out of the configuration's count or for_each; the next apply forgets the object"
        return Remedy(address=finding.address, place=place, advice=advice)
    advice = "delete the block and put this in its place; the next apply forgets the object"
    return Remedy(address=finding.address, place=place, advice=advice, change=removed_block(finding.address))


def _reverting(finding: Finding) -> str:
    match finding.kind:
        case Kind.GONE:
            return "the next apply creates it again, with another id"
        case Kind.CONTENT:
            return "change the flow's file (a comment is enough) and apply: Terraform publishes it only when it differs"
        case _:
            return "the next apply puts the configured value back"


def _place(address: str, module: Module | None) -> tuple[Resource | None, str]:
    """Return the resource block of an address and where it stands, in the root module and the local modules below."""
    wanted = parse_address(address)
    for part in module.walk() if module is not None else ():
        for resource in part.of_type(wanted.type):
            if resource.name == wanted.name and (not wanted.module or part is not module):
                return resource, f"{resource.block.span.path}:{resource.block.span.line}"
    return None, ""


def _has_instances(resource: Resource) -> bool:
    return resource.body.get("for_each") is not None or resource.body.get("count") is not None


def _lines(attributes: Iterable[Attribute]) -> str:
    lines: list[str] = []
    for each in attributes:
        path = one_line(each.path)  # a key of a map may hold a line end, and what follows would be configuration
        if each.sensitive:
            lines.append(f"# {path}: sensitive; take the new value from the organisation")
        else:
            named = each.suggestion.startswith(("#", each.path))
            nested = "" if named else f"# {path}\n"
            lines.append(f"{nested}{each.suggestion}")
    return "\n".join(lines) + "\n"
