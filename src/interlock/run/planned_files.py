"""Whether a saved plan was made from the files and values that are here.

Terraform applies the configuration inside the plan file, not the one on disk, and runs what that configuration says
with the credentials of the apply. So a plan from elsewhere is foreign code. Before anything of a plan runs, every file
in it is compared with the checkout's, byte for byte, and so are the modules' sources and versions, the providers'
lock file and the values of variables.

Knows: plain values. `plan_comparison.py` reads the disk. Not comparable here: what the plan intends (a forged plan of
the same files); for that the plan's digest is shown to people and checked, see `digest_of`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from interlock.errors import PlanStale, PolicyGate

if TYPE_CHECKING:
    from interlock.hcl import Known

SHORT_DIGEST = 16  # hex digits that people compare; chance to meet another plan of the same: 1 in 2^64
_LONGEST_DIGEST = 64
_PREFIX = "sha256:"
_FLAGS = {"1": "true", "0": "false"}  # what else Terraform takes for a bool
_AGAIN = "interlock plan --out FILE    and have that one reviewed"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldModule:
    """One module of a configuration.

    Attributes:
        source: As the call names it; empty for the root module.
        version: Of a module from a registry; else empty.
        folder: Where its files are, relative to the root module or absolute.
        files: Its configuration files by name.
    """

    source: str = ""
    version: str = ""
    folder: str = "."
    files: Mapping[str, bytes] = field(repr=False)

    @property
    def is_local(self) -> bool:
        """Whether it comes with the module that calls it."""
        return not self.source or self.source.startswith(("./", "../"))


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldFiles:
    """A configuration: its modules by Terraform's key (empty for the root), and the lock file of its providers."""

    modules: Mapping[str, HeldModule]
    lock: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first thing in which a plan and the checkout differ.

    Attributes:
        subject: The file, module, provider or variable; never a value, which may be a secret.
        why: How they differ.
    """

    subject: str
    why: str


def digest_of(plan: bytes) -> str:
    """Return the digest of a plan file as people see it: `sha256:` and 64 hex digits."""
    return _PREFIX + sha256(plan).hexdigest()


def short_digest(digest: str) -> str:
    """Return the form that people compare and type: the first `SHORT_DIGEST` hex digits."""
    return digest.removeprefix(_PREFIX)[:SHORT_DIGEST]


def is_digest(text: str) -> bool:
    """Say whether text is a plan's digest, whole or at least its short form, with or without `sha256:`."""
    digits = text.strip().lower().removeprefix(_PREFIX)
    return SHORT_DIGEST <= len(digits) <= _LONGEST_DIGEST and all(digit in "0123456789abcdef" for digit in digits)


def check_digest(plan: bytes, wanted: str) -> None:
    """Refuse a plan that is not the one whose digest people saw.

    Raises:
        PolicyGate: It is another one.
    """
    found = digest_of(plan)
    if not is_digest(wanted) or not found.startswith(_PREFIX + wanted.strip().lower().removeprefix(_PREFIX)):
        raise PolicyGate(
            "this is not the plan that was reviewed",
            why=f"its digest is {short_digest(found)}, the reviewed one's is {short_digest(wanted.strip().lower())}",
            fix="fetch the reviewed plan again, or plan again and have that one reviewed",
        )


def check_same(difference: Difference | None) -> None:
    """Refuse a plan that differs from the checkout.

    Raises:
        PlanStale: It does.
    """
    if difference is not None:
        raise PlanStale(
            f"the saved plan was not made from these files: {difference.subject}",
            why=f"{difference.why}; Terraform would run what the plan holds, not what is here",
            fix=_AGAIN,
        )


# -- files ------------------------------------------------------------------------------------------------------------


def find_difference(held: HeldFiles, here: HeldFiles) -> Difference | None:
    """Return the first thing in which the configuration of a plan differs from the checkout's; None when nothing does.

    Args:
        held: What the plan holds.
        here: The checkout, its modules from an initialisation of its own.
    """
    found = (*_modules(held, here), *_files(held, here), *_providers(held.lock, here.lock))
    return found[0] if found else None


def _modules(held: HeldFiles, here: HeldFiles) -> Iterator[Difference]:
    for key in sorted({*held.modules, *here.modules}):
        theirs, ours = held.modules.get(key), here.modules.get(key)
        subject = f"module {key or 'root'}"
        if ours is None:
            yield Difference(subject=subject, why="the plan has it and the configuration here does not call it")
        elif theirs is None:
            yield Difference(subject=subject, why="it is called here and the plan does not have it")
        elif theirs.source != ours.source:
            yield Difference(subject=subject, why="its source is another one in the plan")
        elif theirs.version != ours.version:
            yield Difference(subject=subject, why=f"the plan has version {theirs.version}, here it is {ours.version}")


def _files(held: HeldFiles, here: HeldFiles) -> Iterator[Difference]:
    for key, ours in sorted(here.modules.items()):
        theirs = held.modules.get(key)
        if theirs is None:
            continue
        for name in sorted({*ours.files, *theirs.files}):
            why = _how(theirs.files.get(name), ours.files.get(name))
            if why:
                folder = ours.folder if ours.is_local else f"module {key}:"
                yield Difference(subject=posixpath.normpath(posixpath.join(folder, name)), why=why)


def _how(theirs: bytes | None, ours: bytes | None) -> str:
    if theirs == ours:
        return ""
    if ours is None:
        return "the plan has this file and it is not here"
    if theirs is None:
        return "this file is here and not in the plan"
    if theirs.replace(b"\r\n", b"\n") == ours.replace(b"\r\n", b"\n"):
        return "it differs in its line ends alone (git's core.autocrlf does that)"
    return "its content is another one in the plan"


def _providers(held: bytes | None, here: bytes | None) -> Iterator[Difference]:
    """Compare what two lock files select. Comments and order mean nothing: Terraform writes its own spelling."""
    if held is None or here is None:
        return
    theirs, ours = selected(held), selected(here)
    if theirs is None or ours is None:
        yield Difference(subject=".terraform.lock.hcl", why="it cannot be read")
        return
    for name in sorted({*theirs, *ours}):
        if theirs.get(name) != ours.get(name):
            yield Difference(subject=".terraform.lock.hcl", why=f"it selects another {name}, or other checksums of it")


def selected(lock: bytes) -> dict[str, tuple[str, frozenset[str]]] | None:
    """Return version and checksums of each provider in a lock file; None when that cannot be told."""
    from interlock.hcl import constant, constant_text, parse  # most runs apply their own plan and need no reader

    file = parse(".terraform.lock.hcl", lock)
    if file.problems:
        return None
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for block in file.body.nested:
        if block.type != "provider" or len(block.labels) != 1:
            continue
        version, hashes = constant_text(block.body.get("version")), constant(block.body.get("hashes"))
        listed = hashes.value if hashes is not None else []
        if version is None or not isinstance(listed, list):
            return None
        found[block.labels[0]] = (version, frozenset(map(str, listed)))
    return found


VARIABLE: Final = "variable "
"""Before the name of the variable that a difference is about."""


# -- variables --------------------------------------------------------------------------------------------------------


def find_variable_difference(
    planned: Mapping[str, object],
    given: Mapping[str, Known | None],
    *,
    declared: Mapping[str, str],
    vouched: bool,
) -> Difference | None:
    """Return the first variable whose value in the plan is not the one given here; None when there is none.

    Args:
        planned: What the plan holds: the values that somebody gave when it was made.
        given: What flags, environment and files give here; None for a value that cannot be told.
        declared: The root module's variables whose values a plan holds (not the ephemeral ones) and the names of their
            types; empty for a type that is built from others.
        vouched: Somebody answers for this very plan (its digest was checked, or it was made here). Values that were
            given then and are not given now are its own business then.
    """
    for name in sorted(declared):
        subject = VARIABLE + name
        if name in planned and name in given:
            known = given[name]
            if known is None:
                why = "whether the plan was made with the value that is given here cannot be told"
                return Difference(subject=subject, why=why)
            if not _is_same(planned[name], known.value, declared[name]):
                return Difference(subject=subject, why="the plan was made with another value than is given here")
        elif name in given:
            return Difference(subject=subject, why="a value is given here, and the plan was made without one")
        elif name in planned and not vouched:
            why = "the plan was made with a value that nothing here gives: give it again after --, or name the plan"
            return Difference(subject=subject, why=f"{why} with --plan-digest")
    return None


def _is_same(planned: object, given: object, kind: str) -> bool:
    """Compare values as Terraform converts them to a type; "1.10" and "1.1" are the same number and not the same text.

    A plan spells numbers that no float holds exactly as text.
    """
    if isinstance(planned, Mapping) and isinstance(given, Mapping):
        return set(planned) == set(given) and all(_is_same(planned[key], given[key], "") for key in planned)
    if isinstance(planned, list) and isinstance(given, list):
        return len(planned) == len(given) and all(_is_same(*pair, "") for pair in zip(planned, given, strict=True))
    if planned is None or given is None or isinstance(planned, Mapping | list) or isinstance(given, Mapping | list):
        return planned is None and given is None
    return _spelled(planned, kind) == _spelled(given, kind)


def _spelled(value: object, kind: str) -> str | Decimal:
    if isinstance(value, bool):
        return "true" if value else "false"
    if kind == "number":
        return _number(str(value))
    text = _plain(value) if isinstance(value, float) else str(value)
    return _FLAGS.get(text, text) if kind == "bool" else text


def _number(text: str) -> str | Decimal:
    """Return the number that a text is; the text itself for any other, also `NaN`, which would differ from itself."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    return number if number.is_finite() else text


def _plain(value: float) -> str:
    """Spell a fraction as Terraform does, without an exponent."""
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
