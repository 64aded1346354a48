"""Structural checks of a state: every finding names the address it is about.

A finding that *refuses* keeps the document from ever becoming the current version (promise P6). The others are
things worth knowing at three in the morning. Attributes are never looked into.

What Terraform's own reader refuses is refused here (`addresses`, `readable`). `STRICTER` names what is refused though
that reader takes it: Terraform writes none of it, and each would make two readers see two states, or lose something.

Knows: document, encrypted, addresses, doubles, readable. Source of the rules: Terraform's own reader
(internal/states/statefile/version4.go); tests/corpus/state_mutants.json has the verdicts of real binaries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Raw, Struct

from interlock.errors import StateInvalid
from interlock.state.addresses import is_dependency, is_module, is_provider
from interlock.state.document import (
    ENCRYPTED,
    FORMAT_VERSION,
    MAX_SERIAL,
    MAX_STATE_BYTES,
    RESOURCE_FIELDS,
    TOP_FIELDS,
    Document,
    ObjectKey,
    Resource,
)
from interlock.state.doubles import doubled_keys
from interlock.state.encrypted import AnyDocument, EncryptedDocument, parse_state
from interlock.state.readable import fault_of_checks, fault_of_marks, fault_of_output, is_private, is_version

MAX_FINDINGS = 200  # a broken document has one fault ten thousand times; nobody reads more
STRICTER = frozenset(
    {
        "ambiguous-key",  # Go reads `Serial` as `serial`, and takes the later one
        "bad-address",  # no type or no name: nothing could be addressed
        "bad-index-key",  # negative or with a fraction: Terraform would drop the fraction
        "bad-provider",  # Terraform forgets such a resource without a word, OpenTofu refuses the state
        "duplicate-key",  # Go mixes both lists of resources, others take the last
        "format-version",  # 1 to 3: Terraform would rewrite them; we would have to understand them
        "no-lineage",
        "not-utf8",  # Go puts a replacement character there, so what is read is not what is stored
        "null-object",  # a resource or an instance that is null
        "serial-zero",
        "too-deep",
        "too-large",
    }
)
"""Codes of findings that refuse a document which Terraform would read."""
_MODES = frozenset({"managed", "data"})
_DEPOSED_BYTES = 8
_MAX_UINT64 = 2**64 - 1


class Finding(Struct, frozen=True, kw_only=True):
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


class _Instance(Struct, gc=False, forbid_unknown_fields=True):
    """All fields of an instance that Terraform or OpenTofu gives a type; null stands for a field that is not there."""

    index_key: int | float | str | None = None
    status: str | None = None
    deposed: str | None = None
    schema_version: int | None = None
    attributes: Raw = Raw(b"null")
    attributes_flat: dict[str, str | None] | None = None
    sensitive_attributes: Raw = Raw(b"null")
    identity_schema_version: int | None = None
    identity: Raw = Raw(b"null")
    private: str | list[int | None] | None = None
    dependencies: list[str | None] | None = None
    create_before_destroy: bool | None = None
    provider: str | None = None
    skip_destroy: bool | None = None


class _Dependent(Struct, gc=False):
    dependencies: list[str | None] | None = None


_INSTANCE = msgspec.json.Decoder(_Instance)
_DEPENDENT = msgspec.json.Decoder(_Dependent)
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_INSTANCE_FIELDS = frozenset(_Instance.__struct_fields__)
_NULL = Raw(b"null")
_NO_MARKS = (Raw(b"[]"), _NULL)
_OPAQUE = Finding(
    code=ENCRYPTED,
    message="OpenTofu encrypted it: lineage and serial are checked, its resources only tofu with its key can check",
    refuses=False,
)


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
        document = parse_state(body)
    except StateInvalid as error:
        return (Finding(code=str(error.facts["finding"]), message=error.why),)
    return verify_document(document, thorough=thorough)


def verify_document(document: AnyDocument, *, thorough: bool = False) -> tuple[Finding, ...]:
    """Check a document that could be read. See `verify_state`."""
    if isinstance(document, EncryptedDocument):
        return (*_footing_findings(document), _OPAQUE)
    findings = _Findings(_head_findings(document))
    findings.add(_doubled(document))
    seen = _Seen(objects=set(), addresses=set(), providers=set())
    for resource in document.resources:
        findings.add(_resource_findings(resource, seen))
        findings.add(_instance_findings(resource, seen))
    for name, raw in document.outputs.items():
        if fault := fault_of_output(raw):
            findings.add([Finding(code="bad-output", address=f"output.{name}", message=fault)])
    if fault := fault_of_checks(document.check_results):
        findings.add([Finding(code="bad-checks", message=fault)])
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


class _Seen(Struct, frozen=True, kw_only=True):
    """What was met so far: objects, and texts that were found to be good."""

    objects: set[ObjectKey]
    addresses: set[str]
    providers: set[str]


def _head_findings(document: Document) -> Iterator[Finding]:
    if document.version != FORMAT_VERSION:
        yield Finding(code="format-version", message=f"format version {document.version}, only 4 is understood")
    if not is_version(document.terraform_version):
        yield Finding(code="bad-version", message="terraform_version is not a version")
    yield from _footing_findings(document)
    yield from _twins(document.unknown, TOP_FIELDS, "")


def _footing_findings(document: AnyDocument) -> Iterator[Finding]:
    if not document.lineage:
        yield Finding(code="no-lineage", message="the lineage is empty, so its identity is unknown")
    if document.serial == 0:
        yield Finding(code="serial-zero", message="serial 0 makes Terraform treat every read as a change")
    elif not 0 < document.serial <= MAX_SERIAL:
        yield Finding(code="serial-range", message="the serial is not an unsigned 64-bit number")


def _doubled(document: Document) -> Iterator[Finding]:
    for name, where in doubled_keys(document.source or b""):
        yield Finding(code="duplicate-key", message=f"the field {name!r} is there twice in {where}")


def _twins(unknown: Iterable[str], known: frozenset[str], address: str) -> Iterator[Finding]:
    """Find fields that Terraform reads as ones that it knows: it does not mind upper and lower case."""
    for name in unknown:
        if name.casefold() in known:
            message = f"Terraform reads the field {name!r} as {name.casefold()!r}"
            yield Finding(code="ambiguous-key", address=address, message=message)


def _resource_findings(resource: Resource, seen: _Seen) -> Iterator[Finding]:
    address = ".".join(part for part in (resource.module, resource.type, resource.name) if part)
    if resource.mode not in _MODES:
        yield Finding(code="bad-mode", address=address, message="the mode is neither managed nor data")
    if not resource.type or not resource.name:
        yield Finding(code="bad-address", address=address, message="a resource without type or name")
    if resource.module and resource.module not in seen.addresses:
        if is_module(resource.module):
            seen.addresses.add(resource.module)
        else:
            yield Finding(code="bad-module", address=address, message="its module is not an address of a module")
    yield from _twins(resource.unknown, RESOURCE_FIELDS, address)
    if resource.provider not in seen.providers:
        if is_provider(resource.provider):
            seen.providers.add(resource.provider)
        elif resource.provider:
            message = "its provider cannot be read, so Terraform would forget the resource"
            yield Finding(code="bad-provider", address=address, message=message)


def _instance_findings(resource: Resource, seen: _Seen) -> Iterator[Finding]:
    kinds: set[type] = set()
    providers: set[str] = set()
    for position, raw in enumerate(resource.instances):
        read = _read_instance(raw, resource, position)
        if isinstance(read, Finding):
            yield read
            continue
        index_key = read.index_key
        if isinstance(index_key, float) or (isinstance(index_key, int) and index_key < 0):
            yield _bad_instance(resource, position)
            continue
        key = ObjectKey(*resource.key, index_key, read.deposed or "")
        kinds.add(type(index_key))
        providers.add(read.provider or "")
        if key in seen.objects or read.deposed or read.status:  # rare: a healthy state of 50 000 skips the rest
            yield from _object_findings(key, read, seen.objects)
        yield from _field_findings(key, read, seen)
        seen.objects.add(key)
    if (not resource.provider and providers - {""} != providers) or (not resource.provider and not resource.instances):
        message = "no provider is recorded, so Terraform would forget the resource"
        yield Finding(code="bad-provider", address=_address(resource), message=message)
    if len(kinds) > 1:
        message = "instances with and without keys, or with keys of both kinds"
        yield Finding(code="mixed-index-keys", address=_address(resource), message=message, refuses=False)


def _read_instance(raw: Raw, resource: Resource, position: int) -> _Instance | Finding:
    try:
        return _INSTANCE.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return _read_slowly(raw, resource, position)


def _read_slowly(raw: Raw, resource: Resource, position: int) -> _Instance | Finding:
    """Read an instance with fields that we do not know, or say what is wrong with it."""
    address = _address(resource)
    if raw == _NULL:
        return Finding(code="null-object", address=address, message=f"instance {position} is null")
    try:
        fields = _FIELDS.decode(raw)
        twins = tuple(_twins(fields.keys() - _INSTANCE_FIELDS, _INSTANCE_FIELDS, address))
        known = {name: value for name, value in fields.items() if name in _INSTANCE_FIELDS}
        return twins[0] if twins else _INSTANCE.decode(msgspec.json.encode(known))
    except (msgspec.MsgspecError, RecursionError) as error:
        if "index_key" in str(error):
            return _bad_instance(resource, position)
        return Finding(code="bad-instance", address=address, message=f"instance {position}: {_shape(error)}")


def _shape(error: Exception) -> str:
    """Return what the decoder says of a shape; never a value."""
    return "its values are nested too deeply" if isinstance(error, RecursionError) else str(error)


def _field_findings(key: ObjectKey, read: _Instance, seen: _Seen) -> Iterator[Finding]:
    """Check what only Terraform looks into. A healthy instance costs a few comparisons."""
    for name in read.dependencies or ():
        if name not in seen.addresses:
            if is_dependency(name or ""):
                seen.addresses.add(name or "")
            else:
                yield _bad_field(key, f"it depends on {name!r}, which is not an address of a resource")
    for number in (read.schema_version, read.identity_schema_version):
        if number is not None and not 0 <= number <= _MAX_UINT64:
            yield _bad_field(key, "a schema version is not an unsigned 64-bit number")
    if read.private is not None and not is_private(read.private):
        yield _bad_field(key, "private is not base64")
    marks = read.sensitive_attributes
    if marks not in _NO_MARKS and (fault := fault_of_marks(marks)):
        yield _bad_field(key, f"sensitive_attributes: {fault}")


def _bad_field(key: ObjectKey, message: str) -> Finding:
    return Finding(code="bad-instance", address=str(key.address()), message=message)


def _object_findings(key: ObjectKey, read: _Instance, seen: set[ObjectKey]) -> Iterator[Finding]:
    address = str(key.address())
    if key in seen:
        yield Finding(code="duplicate-instance", address=address, message=f"{key} is recorded twice")
    if key.deposed:
        yield _deposed(key)
    if read.status == "tainted":
        yield Finding(code="tainted", address=address, message="will be replaced by the next apply", refuses=False)
    elif read.status:
        yield Finding(code="bad-status", address=address, message="a status that Terraform does not know")


def _deposed(key: ObjectKey) -> Finding:
    address = str(key.address())
    if len(key.deposed.encode()) == _DEPOSED_BYTES:
        message = f"object {key.deposed} was replaced but not yet destroyed"
        return Finding(code="deposed-left", address=address, message=message, refuses=False)
    return Finding(code="bad-deposed-key", address=address, message="a deposed key is eight bytes long")


def _bad_instance(resource: Resource, position: int) -> Finding:
    message = f"instance {position} has a key that is neither a whole number from 0 nor text"
    return Finding(code="bad-index-key", address=_address(resource), message=message)


def _dangling(document: Document) -> Iterator[Finding]:
    """Find dependencies on resources that the state does not have; usual after a `removed` block or `state rm`."""
    known = {ObjectKey(*resource.key).address().config() for resource in document.resources}
    for resource in document.resources:
        missing: set[str] = set()
        for raw in resource.instances:
            missing.update(name for name in _dependencies(raw) if name not in known)
        for name in sorted(missing):
            message = f"depends on {name}, which is not in the state"
            yield Finding(code="dangling-dependency", address=_address(resource), message=message, refuses=False)


def _dependencies(raw: Raw) -> Iterable[str]:
    return [name for name in _DEPENDENT.decode(raw).dependencies or () if name]


def _address(resource: Resource) -> str:
    return str(ObjectKey(*resource.key).address())
