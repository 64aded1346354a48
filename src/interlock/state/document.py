"""A Terraform state, format version 4: parsed and rendered without loss.

Only what the rules of the other modules ask for becomes a value. Instances, outputs and check results stay the
bytes that Terraform wrote (`msgspec.Raw`, slices of one buffer), so numbers of any length, key order and fields
that we have never heard of survive, and 100 MB cost 100 MB. An untouched document renders to its own bytes.

Knows: the file format. Knows nothing of versions, queues or files.
Source: docs/facts/terraform-state.md; Terraform internal/states/statefile/version4.go.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct

from interlock.address import Address, InstanceKey
from interlock.errors import THIS_STATE, StateInvalid, command, reason_of
from interlock.late_pattern import late_bytes
from interlock.source.encoding import encoding_of

FORMAT_VERSION = 4
MAX_STATE_BYTES = 256 * 1024 * 1024  # ten times the largest state reported to us; bounds the memory of one request
ENCRYPTED = "encrypted"  # said of a state that OpenTofu encrypted; see `interlock.state.encrypted`
MAX_SERIAL = 2**64 - 1  # Terraform keeps it in a uint64
_SURROGATE = late_bytes(rb"\\u[dD][89a-fA-F]")
_UTF8_STEP = 1 << 20  # check text in steps, so that a large body is not copied as a whole


class ResourceKey(NamedTuple):
    """What names a resource within one state, in Terraform's order of sorting."""

    module: str
    mode: str
    type: str
    name: str


class ObjectKey(NamedTuple):
    """What names one object within one state: an instance, or one of its deposed predecessors.

    One instance address may have one current object (`deposed` empty) and any number of deposed ones.
    """

    module: str
    mode: str
    type: str
    name: str
    index_key: InstanceKey = None
    deposed: str = ""

    def address(self) -> Address:
        """Return the address of the instance; a deposed object has the address of its instance."""
        return Address(module=self.module, mode=self.mode, type=self.type, name=self.name, key=self.index_key)

    def resource(self) -> ResourceKey:
        """Return the resource that this object belongs to."""
        return ResourceKey(self.module, self.mode, self.type, self.name)

    def order(self) -> tuple[object, ...]:
        """Return the key that sorts objects as Terraform does: by address, the current one first."""
        index = self.index_key
        number, text = (index, "") if isinstance(index, int) else (0, index or "")
        rank = 0 if index is None else 1 if isinstance(index, int) else 2
        return (self.module, self.mode, self.type, self.name, rank, number, text, self.deposed)

    def __str__(self) -> str:
        deposed = f" (deposed {self.deposed})" if self.deposed else ""
        return f"{self.address()}{deposed}"


class InstanceHead(Struct, frozen=True, gc=False):
    """The few fields of an instance that name it; everything else is skipped while reading."""

    index_key: int | str | None = None
    deposed: str | None = None
    status: str | None = None


class Resource(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One resource block with its instances as they were written.

    A `Struct` and not a dataclass because msgspec fills it directly while it reads: a state has tens of thousands.
    """

    module: str = ""
    mode: str = ""
    type: str = ""
    name: str = ""
    each: str = ""
    provider: str = ""
    instances: list[Raw] = []

    @property
    def key(self) -> ResourceKey:
        """Return what names this resource."""
        return ResourceKey(self.module, self.mode, self.type, self.name)

    @property
    def unknown(self) -> Mapping[str, Raw]:
        """Return the fields that we do not know, as written."""
        return {}

    def with_instances(self, instances: list[Raw]) -> Resource:
        """Return the same resource with other instances."""
        return msgspec.structs.replace(self, instances=instances)

    def objects(self) -> Iterator[tuple[ObjectKey, Raw]]:
        """Yield each object with its key, reading only the heads.

        Raises:
            msgspec.ValidationError: An instance is not an object, or its index key is neither number nor text.
        """
        for raw in self.instances:
            head = _HEAD.decode(raw)
            yield ObjectKey(self.module, self.mode, self.type, self.name, head.index_key, head.deposed or ""), raw


class _ForeignResource(Resource, frozen=True, kw_only=True):
    """A resource with fields that Terraform 1.11 to 1.17 does not write."""

    others: dict[str, Raw]

    @property
    def unknown(self) -> Mapping[str, Raw]:
        return self.others


class _Top(Struct, forbid_unknown_fields=True):
    """The whole document as msgspec fills it; the quick way, without unknown fields."""

    version: int = 0
    terraform_version: str = ""
    serial: int = 0
    lineage: str = ""
    outputs: dict[str, Raw] | None = None
    resources: list[Resource] | None = None
    check_results: Raw = Raw(b"null")


_HEAD = msgspec.json.Decoder(InstanceHead)
_QUICK = msgspec.json.Decoder(_Top)
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_ROWS = msgspec.json.Decoder(list[dict[str, Raw]])
TOP_FIELDS = frozenset(_Top.__struct_fields__)
RESOURCE_FIELDS = frozenset(Resource.__struct_fields__)
_NULL = Raw(b"null")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One state.

    Attributes:
        version: Format version; 4 in a state that we accept.
        terraform_version: The Terraform that wrote it, such as `1.11.4`.
        serial: Rises with every write; at least 1 in a state that we accept.
        lineage: Identity of the state since its first write.
        outputs: Name to its JSON object, as written.
        resources: In the order of the file.
        check_results: JSON list or null, as written; Terraform writes it in random order.
        unknown: Top-level fields that we do not know, as written.
        source: The bytes this document was parsed from; None once a field was replaced.
    """

    version: int = FORMAT_VERSION
    terraform_version: str = ""
    serial: int
    lineage: str
    outputs: Mapping[str, Raw] = field(default_factory=dict)
    resources: tuple[Resource, ...] = ()
    check_results: Raw = field(default_factory=lambda: _NULL)
    unknown: Mapping[str, Raw] = field(default_factory=dict)
    source: bytes | None = field(default=None, repr=False, compare=False)

    def objects(self) -> dict[ObjectKey, Raw]:
        """Index every object by its key. Attributes are not decoded.

        Raises:
            StateInvalid: Two objects have one key, or an instance has an unreadable key.
        """
        found: dict[ObjectKey, Raw] = {}
        total = 0
        try:
            for resource in self.resources:
                for key, raw in resource.objects():
                    found[key] = raw
                    total += 1
        except (msgspec.MsgspecError, RecursionError) as error:
            raise unreadable("bad-instance", reason_of(error)) from error
        if total != len(found):
            raise unreadable("duplicate-instance", "one instance is recorded twice")
        return found

    def with_serial(self, serial: int) -> Document:
        """Return the same content under another serial."""
        return replace(self, serial=serial, source=None)

    def begin_lineage(self, lineage: str) -> Document:
        """Return the same content as the first document of a lineage.

        For a state that Terraform left before it had stored any: it has no lineage and serial 0 then.
        """
        return replace(self, lineage=lineage, serial=max(self.serial, 1), source=None)

    def instance_count(self) -> int:
        """Count the managed objects, deposed ones included."""
        return sum(len(each.instances) for each in self.resources if each.mode == "managed")


def parse_document(body: bytes) -> Document:
    """Read a state.

    The result shares the memory of `body`; nothing but the headers of resources is copied.

    Raises:
        StateInvalid: `body` is not a JSON object in the shape of a state; `facts["finding"]` names what is wrong.
            A document may be read and still be refused: see `verify_state`.
    """
    if len(body) > MAX_STATE_BYTES:
        raise unreadable("too-large", f"{len(body)} bytes, the limit is {MAX_STATE_BYTES}")
    _check_encoding(body)
    _check_text(body)
    try:
        return _from_top(_QUICK.decode(body), body)
    except msgspec.ValidationError as error:
        return _parse_slowly(body, error)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _malformed(error, body) from error


def render_document(document: Document) -> bytes:
    """Write a state in Terraform's own layout: two spaces, one final line feed.

    A document that was only parsed gives back its own bytes. Numbers, key order inside instances and unknown
    fields are copied as they were.
    """
    if document.source is not None:
        return document.source
    head = {
        "version": document.version,
        "terraform_version": document.terraform_version,
        "serial": document.serial,
        "lineage": document.lineage,
        "outputs": document.outputs,
        "resources": [_resource_fields(each) for each in document.resources],
        "check_results": document.check_results,
        **document.unknown,
    }
    return msgspec.json.format(msgspec.json.encode(head), indent=2) + b"\n"


def empty_document(*, lineage: str, serial: int = 1, terraform_version: str = "1.11.4") -> Document:
    """Return a state without resources, to seed a lineage.

    Args:
        lineage: Not empty: Terraform treats a state without lineage as changed at every write.
        serial: At least 1, for the same reason.
        terraform_version: What a reader will see as the last writer.
    """
    return Document(lineage=lineage, serial=serial, terraform_version=terraform_version)


def content_digest(document: Document) -> str:
    """Return the SHA-256 of what a state says, however it is spelled.

    Equal for two encodings of one content: white space, the order of resources and of top-level fields, and the
    random order in which Terraform writes `check_results` do not count. Serial, lineage and `terraform_version` do
    not either: a serial step may carry no change.
    """
    digest = hashlib.sha256()
    for part in _canonical_parts(document):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def compact(raw: Raw) -> bytes:
    """Return JSON without white space between its tokens; numbers and key order stay as written."""
    return msgspec.json.format(bytes(raw), indent=-1)


def same_json(one: Raw | None, other: Raw | None) -> bool:
    """Whether two pieces say the same, white space aside. Equal bytes are the usual case and cost little."""
    if one is None or other is None:
        return one is other
    return one == other or compact(one) == compact(other)


def sort_checks(raw: Raw) -> list[Raw]:
    """Return the entries of `check_results` in a fixed order: by kind and address, their objects by address."""
    rows = msgspec.json.decode(raw, type=list[dict[str, Raw]] | None) or []
    ordered = sorted(rows, key=check_key)
    return [Raw(msgspec.json.encode({**row, **_sorted_objects(row)})) for row in ordered]


def check_key(row: Mapping[str, Raw]) -> tuple[bytes, bytes]:
    """Return what names one entry of `check_results`: kind and address, as JSON."""
    return (bytes(row.get("object_kind", _NULL)), bytes(row.get("config_addr", _NULL)))


def group_resources(document: Document) -> dict[ResourceKey, Resource]:
    """Index resources by key; a resource that is written in two blocks counts as one, the first names the provider."""
    found: dict[ResourceKey, Resource] = {}
    for resource in document.resources:
        earlier = found.get(resource.key)
        found[resource.key] = (
            resource if earlier is None else earlier.with_instances(earlier.instances + resource.instances)
        )
    return found


def index_objects(resource: Resource | None) -> dict[ObjectKey, Raw]:
    """Index the objects of one resource.

    Raises:
        StateInvalid: Two have one key, or a key cannot be read.
    """
    if resource is None:
        return {}
    try:
        found = dict(resource.objects())
    except (msgspec.MsgspecError, RecursionError) as error:
        raise unreadable("bad-instance", reason_of(error)) from error
    if len(found) != len(resource.instances):
        raise unreadable("duplicate-instance", f"{ObjectKey(*resource.key).address()} has one instance twice")
    return found


def assemble(headers: Mapping[ResourceKey, Resource], objects: Mapping[ObjectKey, Raw]) -> tuple[Resource, ...]:
    """Join resource headers and objects into resources in Terraform's order."""
    instances: dict[ResourceKey, list[ObjectKey]] = {key: [] for key in headers}
    for key in objects:
        instances[key.resource()].append(key)
    return tuple(
        headers[name].with_instances([objects[key] for key in sorted(keys, key=ObjectKey.order)])
        for name, keys in sorted(instances.items())
    )


def unreadable(finding: str, why: str) -> StateInvalid:
    """Return the error for bytes that are not state."""
    return StateInvalid(
        "the document is not a Terraform state",
        why=why,
        fix=f"{command('state', 'history', THIS_STATE)}    shows the whole versions that can be restored",
        finding=finding,
    )


def _check_encoding(body: bytes) -> None:
    """Refuse what PowerShell made of a state, in words that say so."""
    encoding = encoding_of(body)
    if encoding:
        raise unreadable(
            "not-utf8",
            f"it is {encoding}, as PowerShell's > writes it, and Terraform reads plain UTF-8 alone; saved as a file it "
            "can be pushed again",
        )


def _check_text(body: bytes) -> None:
    """Refuse bytes that are not UTF-8: pieces that stay raw would carry them on unseen."""
    if body.isascii():
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(body)
    try:
        for start in range(0, len(body), _UTF8_STEP):
            decoder.decode(view[start : start + _UTF8_STEP])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise unreadable("not-utf8", "it contains bytes that are not UTF-8") from error


def _from_top(top: _Top, body: bytes) -> Document:
    return Document(
        version=top.version,
        terraform_version=top.terraform_version,
        serial=top.serial,
        lineage=top.lineage,
        outputs=top.outputs or {},
        resources=tuple(top.resources or ()),
        check_results=top.check_results,
        source=body,
    )


def _parse_slowly(body: bytes, refusal: msgspec.ValidationError) -> Document:
    """Read a document that has unknown fields or nulls, or say which field has the wrong shape.

    Without either, a field is there twice, and the earlier one has the wrong shape: Terraform would refuse it too.
    """
    try:
        fields = _FIELDS.decode(body)
        known = _present(fields, TOP_FIELDS - {"resources"})
        top = _QUICK.decode(msgspec.json.encode(known))
        if "version" not in fields and "encrypted_data" in fields:
            raise unreadable(ENCRYPTED, "OpenTofu encrypted it, and only tofu with its key can read it")
        rows = _ROWS.decode(fields["resources"]) if fields.get("resources", _NULL) != _NULL else []
        resources = tuple(_parse_resource(row) for row in rows)
        if not _is_odd(fields, TOP_FIELDS) and not any(_is_odd(row, RESOURCE_FIELDS) for row in rows):
            raise refusal
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _malformed(error, body) from error
    unknown = {name: raw for name, raw in fields.items() if name not in TOP_FIELDS}
    return replace(_from_top(top, body), resources=resources, unknown=unknown)


def _is_odd(fields: Mapping[str, Raw], known: frozenset[str]) -> bool:
    """Whether an object has what the quick way cannot read: unknown fields or nulls."""
    return bool(fields.keys() - known) or _NULL in fields.values()


def _present(fields: Mapping[str, Raw], names: frozenset[str]) -> dict[str, Raw]:
    """Return the named fields that have a value: in Go's JSON, null stands for a field that is not there."""
    return {name: raw for name, raw in fields.items() if name in names and raw != _NULL}


def _parse_resource(row: dict[str, Raw]) -> Resource:
    known = _present(row, RESOURCE_FIELDS - {"instances"})
    others = {name: raw for name, raw in row.items() if name not in RESOURCE_FIELDS}
    head = msgspec.json.decode(msgspec.json.encode(known), type=Resource)
    instances = msgspec.json.decode(row.get("instances", _NULL), type=list[Raw] | None) or []
    if not others:
        return head.with_instances(instances)
    fields = {name: getattr(head, name) for name in RESOURCE_FIELDS}
    return _ForeignResource(**{**fields, "instances": instances}, others=others)


def _malformed(error: Exception, body: bytes) -> StateInvalid:
    text = str(error)
    if isinstance(error, RecursionError):
        return unreadable("too-deep", "its values are nested too deeply to be read")
    if isinstance(error, msgspec.ValidationError):
        return unreadable("not-a-state", text)
    if _SURROGATE.search(body):
        return unreadable("not-utf8", "it contains half of a character")
    if "truncated" in text:
        return unreadable("truncated", "the JSON ends too early, as after a write that broke off")
    return unreadable("not-json", text)


def _resource_fields(resource: Resource) -> dict[str, object]:
    """Return the fields in the order in which Terraform writes them; empty optional ones are left out."""
    fields: dict[str, object] = {"module": resource.module} if resource.module else {}
    fields |= {"mode": resource.mode, "type": resource.type, "name": resource.name}
    if resource.each:
        fields["each"] = resource.each
    return fields | {"provider": resource.provider, "instances": resource.instances, **resource.unknown}


def _canonical_parts(document: Document) -> Iterable[bytes]:
    yield from _canonical_fields(b"output", document.outputs)
    for _, resource in sorted(group_resources(document).items()):
        yield msgspec.json.encode((*resource.key, resource.provider, resource.each))
        yield from _canonical_fields(b"field", resource.unknown)
        for key, raw in sorted(resource.objects(), key=lambda pair: pair[0].order()):
            yield str(key).encode()
            yield compact(raw)
    yield from (compact(check) for check in sort_checks(document.check_results))
    yield from _canonical_fields(b"top", document.unknown)


def _canonical_fields(kind: bytes, fields: Mapping[str, Raw]) -> Iterable[bytes]:
    for name in sorted(fields):
        yield kind
        yield name.encode()
        yield compact(fields[name])


def _sorted_objects(row: Mapping[str, Raw]) -> dict[str, list[Raw]]:
    """Return the field `objects` of one check with its entries in order; empty when there is none."""
    entries = msgspec.json.decode(row.get("objects", _NULL), type=list[dict[str, Raw]] | None)
    if not entries:
        return {}
    entries.sort(key=lambda entry: (bytes(entry.get("object_addr", _NULL)), msgspec.json.encode(entry)))
    return {"objects": [Raw(msgspec.json.encode(entry)) for entry in entries]}
