"""A saved plan that OpenTofu encrypted: no zip, so neither files nor backend nor serial can be read from it.

What it was made for is written beside the encrypted text when it is kept, in the same JSON document, which OpenTofu
reads past (measured with 1.12.6). Anybody could write that, so it counts only under a digest for which somebody
answers: the one that people saw, or that of a plan made in this home. A plan of one's own that nobody answers for, or
that plain tofu made, is refused.

Knows: plain values. Source: docs/facts/opentofu.md#tofu-9.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import msgspec

from interlock.bounded import decode_json
from interlock.errors import PlanStale, UsageError, reason_of
from interlock.run.planned_files import HeldFiles, selected
from interlock.run.planned_for import LABEL_NAME, Label, PlannedFor, check_label
from interlock.run.saved_plan import PlannedFrom, check_current
from interlock.run.surroundings import Current

_MEMBER = LABEL_NAME.removesuffix(".json")
_PLAN_AGAIN = "interlock plan --out FILE    and have that one reviewed"


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan that can be read says by itself.

    Attributes:
        lineage: Of the state that it was made from; empty for none.
        serial: Likewise; 0 for none.
        backend: Type of its backend.
        place: Digest of the backend's settings.
        workspace: Terraform's workspace.
        files: Digest of configuration, modules and selected providers.
    """

    lineage: str = ""
    serial: int = 0
    backend: str
    place: str
    workspace: str
    files: str


class BoundLabel(msgspec.Struct, frozen=True, kw_only=True):
    """What stands beside the encrypted text of a kept plan.

    Attributes:
        version: Of this record.
        label: As in a plan that is not encrypted.
        binding: What that one says by itself.
    """

    version: int = 1
    label: Label
    binding: Binding


class _Encrypted(msgspec.Struct):
    encrypted_data: str
    encryption_version: str


_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def is_encrypted_plan(plan: bytes) -> bool:
    """Say whether bytes are a plan that OpenTofu encrypted."""
    if plan.lstrip()[:1] != b"{":
        return False
    try:
        decode_json(plan, type=_Encrypted)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


def bind(
    label: Label, files: HeldFiles, current: Current, *, backend: str, place: Mapping[str, str | None], workspace: str
) -> BoundLabel:
    """Return what is to stand beside an encrypted plan.

    Args:
        label: What it is for.
        files: What it was made from.
        current: The state that it was made from.
        backend: Type of the run's backend.
        place: The backend's settings.
        workspace: Terraform's workspace.
    """
    binding = Binding(
        lineage=current.lineage,
        serial=current.serial,
        backend=backend,
        place=_digest_of_place(place),
        workspace=workspace,
        files=digest_of_files(files),
    )
    return BoundLabel(label=label, binding=binding)


def with_bound_label(plan: bytes, bound: BoundLabel) -> bytes:
    """Return an encrypted plan with a label beside its encrypted text."""
    fields: dict[str, object] = {**_FIELDS.decode(plan), _MEMBER: bound}
    return msgspec.json.encode(fields)


def read_bound_label(plan: bytes) -> BoundLabel | None:
    """Return what stands beside the encrypted text; None when plain tofu made the plan."""
    raw = _FIELDS.decode(plan).get(_MEMBER)
    if raw is None:
        return None
    try:
        return decode_json(raw, type=BoundLabel)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError("this is not a saved plan", why=reason_of(error), fix="interlock plan --out FILE") from error


def check_vouched(plan: bytes, *, vouched: bool) -> BoundLabel:
    """Return what an encrypted plan was made for.

    Args:
        plan: The file.
        vouched: Somebody answers for its digest.

    Raises:
        UsageError: Nobody does, or it does not say.
    """
    bound = read_bound_label(plan)
    if bound is None:
        raise UsageError(
            "the saved plan is encrypted, and does not say what it was made for",
            why="plain tofu made it; only its key could show the state and the files that it belongs to",
            fix=_PLAN_AGAIN,
        )
    if not vouched:
        raise UsageError(
            "the saved plan is encrypted, and nobody answers for it",
            why="what it was made for stands beside its encrypted text, where anybody can write",
            fix="interlock plan --out FILE    or add --plan-digest, with the digest that the plan's own run printed",
        )
    return bound


def check_bound(
    bound: BoundLabel,
    *,
    state: str,
    module: str,
    current: Current,
    backend: str,
    place: Mapping[str, str | None],
    workspace: str,
) -> None:
    """Refuse an encrypted plan of another backend, state or root module, or of another version of the state.

    Args:
        bound: What stands beside it.
        state: The run's state.
        module: The run's root module.
        current: What is stored now.
        backend: Type of the run's backend.
        place: The backend's settings.
        workspace: The run's workspace.

    Raises:
        PlanStale: It is one.
    """
    binding = bound.binding
    if (binding.backend, binding.place, binding.workspace) != (backend, _digest_of_place(place), workspace):
        raise PlanStale(
            "the saved plan belongs to another state",
            why=f'it was made for a place on backend "{binding.backend}", workspace {binding.workspace}',
            fix=_PLAN_AGAIN,
        )
    check_label(PlannedFor(label=bound.label), state=state, module=module, is_new=binding.serial == 0)
    made_from = PlannedFrom(lineage=binding.lineage, serial=binding.serial)
    check_current(made_from, lineage=current.lineage, serial=current.serial)


def digest_of_files(files: HeldFiles) -> str:
    """Return a digest of configuration, modules and selected providers, whatever folder they are in."""
    lock = selected(files.lock) if files.lock is not None else None
    parts = [
        (
            key,
            module.source,
            module.version,
            sorted((name, sha256(text).hexdigest()) for name, text in module.files.items()),
        )
        for key, module in sorted(files.modules.items())
    ]
    providers = sorted((name, version, sorted(hashes)) for name, (version, hashes) in (lock or {}).items())
    return sha256(msgspec.json.encode([parts, providers])).hexdigest()


def _digest_of_place(place: Mapping[str, str | None]) -> str:
    return sha256(msgspec.json.encode(sorted((name, value or "") for name, value in place.items()))).hexdigest()
