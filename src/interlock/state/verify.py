"""Structural checks of a state: every finding names the address it is about.

A finding that *refuses* keeps the document from ever becoming the current version (promise P6). The others are
things worth knowing at three in the morning. The checks read the heads of instances only; attributes are skipped.

Knows: document. Source of the rules: Terraform's own reader (internal/states/statefile/version4.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec
from msgspec import Raw, Struct

from interlock.errors import StateInvalid
from interlock.state.document import (
    FORMAT_VERSION,
    MAX_SERIAL,
    MAX_STATE_BYTES,
    Document,
    InstanceHead,
    ObjectKey,
    Resource,
    parse_document,
)

MAX_FINDINGS = 200  # a broken document has one fault ten thousand times; nobody reads more
_MODES = frozenset({"managed", "data"})
_DEPOSED = re.compile(r"[0-9a-f]{8}\Z")
_HEAD = msgspec.json.Decoder(InstanceHead)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing noticed in a state.

    Attributes:
        code: Stable name, such as `duplicate-instance`.
        address: What it is about: an instance or resource address, or empty for the whole document.
        message: One sentence for a person; never contains an attribute's value.
        refuses: Whether a document with this finding may not become the current version.
    """

    code: str
    address: str = ""
    message: str
    refuses: bool = True


class _Dependent(Struct, gc=False):
    dependencies: list[str] | None = None


_DEPENDENT = msgspec.json.Decoder(_Dependent)


def verify_state(body: bytes, *, limit_bytes: int = MAX_STATE_BYTES, thorough: bool = False) -> tuple[Finding, ...]:
    """Check the bytes of a state.

    Args:
        body: What would be stored.
        limit_bytes: Largest size accepted.
        thorough: Also look for dependencies that lead nowhere, which reads more of each instance.

    Returns:
        The findings in the order of the document, at most `MAX_FINDINGS`; empty when there is nothing to say.
    """
    if len(body) > limit_bytes:
        return (Finding(code="too-large", message=f"{len(body)} bytes, the limit is {limit_bytes}"),)
    try:
        document = parse_document(body)
    except StateInvalid as error:
        return (Finding(code=str(error.facts["finding"]), message=error.why),)
    return verify_document(document, thorough=thorough)


def verify_document(document: Document, *, thorough: bool = False) -> tuple[Finding, ...]:
    """Check a document that could be read. See `verify_state`."""
    findings = _Findings(_head_findings(document))
    seen: set[ObjectKey] = set()
    for resource in document.resources:
        findings.add(_resource_findings(resource))
        findings.add(_instance_findings(resource, seen))
    findings.add(_check_findings(document.check_results))
    if thorough and not findings.refusing():
        findings.add(_dangling(document))
    return tuple(findings.rows)


def refusing(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Keep the findings that forbid a document to become current."""
    return tuple(finding for finding in findings if finding.refuses)


class _Findings:
    """Collects up to `MAX_FINDINGS`."""

    def __init__(self, first: Iterable[Finding]) -> None:
        self.rows = list(first)

    def add(self, more: Iterable[Finding]) -> None:
        for finding in more:
            # A refusing finding is never dropped for a remark: the verdict must not depend on the limit.
            if len(self.rows) < MAX_FINDINGS or (finding.refuses and not self.refusing()):
                self.rows.append(finding)

    def refusing(self) -> bool:
        return any(finding.refuses for finding in self.rows)


def _head_findings(document: Document) -> Iterator[Finding]:
    if document.version != FORMAT_VERSION:
        yield Finding(code="format-version", message=f"format version {document.version}, only 4 is understood")
    if not document.lineage:
        yield Finding(code="no-lineage", message="the lineage is empty, so its identity is unknown")
    if document.serial == 0:
        yield Finding(code="serial-zero", message="serial 0 makes Terraform treat every read as a change")
    elif not 0 < document.serial <= MAX_SERIAL:
        yield Finding(code="serial-range", message="the serial is not an unsigned 64-bit number")


def _resource_findings(resource: Resource) -> Iterator[Finding]:
    address = ".".join(part for part in (resource.module, resource.type, resource.name) if part)
    if resource.mode not in _MODES:
        yield Finding(code="bad-mode", address=address, message="the mode is neither managed nor data")
    if not resource.type or not resource.name:
        yield Finding(code="bad-address", address=address, message="a resource without type or name")
    if not resource.provider:
        yield Finding(code="no-provider", address=address, message="no provider is recorded", refuses=False)


def _instance_findings(resource: Resource, seen: set[ObjectKey]) -> Iterator[Finding]:
    kinds: set[type] = set()
    for position, raw in enumerate(resource.instances):
        head = _read_head(raw)
        if head is None or (isinstance(head.index_key, int) and head.index_key < 0):
            yield _bad_instance(resource, position)
            continue
        key = ObjectKey(*resource.key, head.index_key, head.deposed or "")
        kinds.add(type(head.index_key))
        if key in seen or head.deposed or head.status:  # rare: a healthy state of 50 000 instances skips the rest
            yield from _object_findings(key, head, seen)
        seen.add(key)
    if len(kinds) > 1:
        message = "instances with and without keys, or with keys of both kinds"
        yield Finding(code="mixed-index-keys", address=_address(resource), message=message, refuses=False)


def _object_findings(key: ObjectKey, head: InstanceHead, seen: set[ObjectKey]) -> Iterator[Finding]:
    address = str(key.address())
    if key in seen:
        yield Finding(code="duplicate-instance", address=address, message=f"{key} is recorded twice")
    if key.deposed:
        yield _deposed(key)
    if head.status == "tainted":
        yield Finding(code="tainted", address=address, message="will be replaced by the next apply", refuses=False)
    elif head.status:
        yield Finding(code="bad-status", address=address, message="a status that Terraform does not know")


def _deposed(key: ObjectKey) -> Finding:
    address = str(key.address())
    if _DEPOSED.match(key.deposed):
        message = f"object {key.deposed} was replaced but not yet destroyed"
        return Finding(code="deposed-left", address=address, message=message, refuses=False)
    return Finding(code="bad-deposed-key", address=address, message="a deposed key is eight hexadecimal digits")


def _bad_instance(resource: Resource, position: int) -> Finding:
    message = f"instance {position} has a key that is neither a whole number from 0 nor text"
    return Finding(code="bad-index-key", address=_address(resource), message=message)


def _check_findings(checks: Raw) -> Iterator[Finding]:
    try:
        msgspec.json.decode(checks, type=list[dict[str, Raw]] | None)
    except (msgspec.MsgspecError, RecursionError):
        yield Finding(code="bad-checks", message="check_results is neither null nor a list of objects")


def _dangling(document: Document) -> Iterator[Finding]:
    """Find dependencies on resources that the state does not have; usual after a `removed` block or `state rm`."""
    known = {ObjectKey(*resource.key).address().config() for resource in document.resources}
    for resource in document.resources:
        missing: set[str] = set()
        for raw in resource.instances:
            missing.update(name for name in _DEPENDENT.decode(raw).dependencies or () if name not in known)
        for name in sorted(missing):
            message = f"depends on {name}, which is not in the state"
            yield Finding(code="dangling-dependency", address=_address(resource), message=message, refuses=False)


def _read_head(raw: Raw) -> InstanceHead | None:
    try:
        return _HEAD.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _address(resource: Resource) -> str:
    return str(ObjectKey(*resource.key).address())
