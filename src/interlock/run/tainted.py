"""Tainted objects: those that the next apply makes anew, what a look at them shows, and how one is kept.

A provider on the older SDK cancels the operation in work when Terraform is asked to stop. The object may be whole; its
replacement has another id, so a queue loses its history (docs/facts/terraform-runs.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from interlock.bounded import decode_json, read_json
from interlock.creations.reading import says_deleted
from interlock.errors import StateInvalid, command
from interlock.foreign_text import shell_word
from interlock.late_pattern import late
from interlock.state import parse_document

if TYPE_CHECKING:
    from interlock.creations.looking import Ask

LOOK_S: Final = 5.0
"""All looks of one run together: the state is saved by then, and the lock still held."""
_LOOKS_MAX: Final = 10
_NAMED: Final = 5  # objects in one note; `interlock state verify` names all
_FIELDS_NAMED: Final = 4
_OK: Final = 200
_ALIAS: Final = late(r'^(?:module\..*\.)?provider\[".*"\](?:\.(?P<alias>[\w-]+))?$')

LookAt = Callable[[Sequence["Tainted"]], Awaitable[Mapping[str, str]]]
"""Returns what a look at each shows, by address; those that could not be looked at are left out."""


class Tainted(Struct, frozen=True, kw_only=True):
    """One tainted object.

    Attributes:
        address: Its instance address.
        type: Resource type.
        id: Of the object; empty when the state has none.
        alias: Of the provider configuration that made it; empty for the default one.
        attributes: As the state has them. They may be secret: only their names are ever shown.
    """

    address: str
    type: str
    id: str = ""
    alias: str = ""
    attributes: Mapping[str, Any] = {}


class _Instance(msgspec.Struct):
    status: str | None = None
    attributes: dict[str, Any] | None = None


def find_tainted(body: bytes | None) -> list[Tainted]:
    """Return the tainted objects of a state, in its order; none when it cannot be read."""
    try:
        document = parse_document(body) if body else None
    except StateInvalid:
        return []
    if document is None:
        return []
    providers = {resource.key: resource.provider for resource in document.resources}
    found = []
    for key, raw in document.objects().items():
        if key.mode != "managed" or key.deposed or b"tainted" not in bytes(raw):
            continue
        with suppress(msgspec.MsgspecError):
            instance = decode_json(raw, type=_Instance)
            if instance.status == "tainted":
                found.append(_tainted(str(key.address()), key.type, providers.get(key.resource(), ""), instance))
    return found


def _tainted(address: str, kind: str, provider: str, instance: _Instance) -> Tainted:
    attributes = instance.attributes or {}
    alias = _ALIAS.match(provider)
    identifier = attributes.get("id")
    return Tainted(
        address=address,
        type=kind,
        id=identifier if isinstance(identifier, str) else "",
        alias=(alias["alias"] or "") if alias is not None else "",
        attributes=attributes,
    )


async def look_at_all(tainted: Iterable[Tainted], ask_for: Callable[[str], Ask | None]) -> dict[str, str]:
    """Look at tainted objects through the gateway, for a bounded time; see `LookAt`.

    Args:
        tainted: The objects.
        ask_for: Returns what reads from the organisation of a provider configuration, by its alias.
    """
    from interlock.genesys.likeness import find_object_path  # most runs have nothing to look at

    seen: dict[str, str] = {}
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK_S):
            for each in list(tainted)[:_LOOKS_MAX]:
                ask, path = ask_for(each.alias), find_object_path(each.type, each.id) if each.id else None
                if ask is not None and path is not None:
                    status, body = await ask(path, "")
                    seen[each.address] = judge_look(each, status, body)
    return {address: text for address, text in seen.items() if text}


def judge_look(tainted: Tainted, status: int, body: bytes) -> str:
    """Return what an answer to a GET says of a tainted object; empty when it says nothing."""
    if says_deleted(status, body):
        return "gone: nothing is there to keep"
    shown = _document(body) if status == _OK else None
    if shown is None:
        return ""
    from interlock.genesys.likeness import compare  # only after a look

    likeness = compare(tainted.attributes, shown)
    if likeness.different:
        return f"there, but not as planned in {_some(likeness.different)}: kept, the next apply changes it in place"
    return f"there, as planned in {_some(likeness.same)}" if likeness.same else "there"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _FIELDS_NAMED
    return ", ".join(names[:_FIELDS_NAMED]) + (f" and {more} more" if more > 0 else "")


def _document(body: bytes) -> Mapping[str, Any] | None:
    try:
        document = read_json(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def keep_line(program: str, state: str, address: str) -> str:
    """Return what a person types to keep a tainted object: no apply replaces it then.

    Args:
        program: How a person starts this Terraform, as a shell reads it.
        state: The state's name.
        address: Of the object.
    """
    file = f"{state.replace('/', '-')}.tfstate"
    take_off = f"{program} untaint -state={shell_word(file)} {shell_word(address)}"
    pull, push = command("state", "pull", state), command("state", "push", "--state", state, file)
    return f"{pull} > {shell_word(file)} && {take_off} && {push}"


def tainted_text(
    tainted: Sequence[Tainted], seen: Mapping[str, str], *, state: str, program: str, is_planned: bool = False
) -> str:
    """Return what people are told of tainted objects, with the line that keeps one.

    Args:
        tainted: The objects, at least one.
        seen: What a look at each has shown, by address.
        state: The state's name.
        program: See `keep_line`.
        is_planned: A plan has just been made that replaces them.
    """
    named = [f"{each.address} ({seen[each.address]})" if each.address in seen else each.address for each in tainted]
    more = len(named) - _NAMED
    every = ", ".join(named[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    kept = next((each for each in tainted if not seen.get(each.address, "").startswith("gone")), tainted[0])
    does = "This plan makes" if is_planned else "The next apply makes"
    keep = keep_line(program, state, kept.address)
    return f"tainted: {every}. {does} a new one, with a new id. To keep one that is whole: {keep}"
