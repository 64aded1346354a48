"""Terraform's commands on a state beside plan and apply: which of them a run carries out, and what each may do.

Pure. Source: `terraform <command> -help` of 1.11.4 and 1.15; flags come before the first plain word, as Go reads them.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import PurePosixPath
from typing import Final

from msgspec import Struct

from interlock.errors import UsageError, command

PROGRAMS: Final = frozenset({"terraform", "tofu"})
_USUAL: Final = "terraform"
MASK: Final = "(masked)"


class Effect(Enum):
    """What a command does to the state."""

    READS = "reads"
    CHANGES = "changes"
    REFRESHES = "refreshes"
    """It becomes a plan of its own kind, which is applied."""


class _Kind(Struct, frozen=True, kw_only=True):
    """What is known of one command.

    Attributes:
        effect: What it does to the state.
        locks: It knows `-lock`.
        values: It knows `-var` and `-var-file`.
        calls: It may start a provider that calls an API.
        removes: It may take objects out of the state, by the state and its own words alone.
        talks: It reads what is typed.
    """

    effect: Effect
    locks: bool = False
    values: bool = False
    calls: bool = False
    removes: bool = False
    talks: bool = False


_READS, _CHANGES = Effect.READS, Effect.CHANGES
_KINDS: Final[Mapping[tuple[str, ...], _Kind]] = {
    ("state", "mv"): _Kind(effect=_CHANGES, locks=True, removes=True),
    ("state", "rm"): _Kind(effect=_CHANGES, locks=True, removes=True),
    ("state", "replace-provider"): _Kind(effect=_CHANGES, locks=True),
    ("import",): _Kind(effect=_CHANGES, locks=True, values=True, calls=True),
    ("taint",): _Kind(effect=_CHANGES, locks=True),
    ("untaint",): _Kind(effect=_CHANGES, locks=True),
    ("refresh",): _Kind(effect=Effect.REFRESHES, calls=True),
    ("state", "list"): _Kind(effect=_READS),
    ("state", "show"): _Kind(effect=_READS),
    ("state", "pull"): _Kind(effect=_READS),
    ("output",): _Kind(effect=_READS),
    ("show",): _Kind(effect=_READS),
    ("graph",): _Kind(effect=_READS),
    ("providers",): _Kind(effect=_READS),
    ("providers", "schema"): _Kind(effect=_READS),
    ("validate",): _Kind(effect=_READS),
    ("version",): _Kind(effect=_READS),
    ("console",): _Kind(effect=_READS, locks=True, values=True, calls=True, talks=True),
}
_INSTEAD: Final[Mapping[str, str]] = {
    "plan": "interlock plan",
    "apply": "interlock apply",
    "destroy": "interlock destroy",
    "init": "interlock plan    every run initialises by itself; flags of init go after --",
    "force-unlock": "interlock lock ls",
    "workspace": "interlock plan    with TF_WORKSPACE=NAME, or after {program} workspace select NAME",
    "state push": "interlock state push FILE",
    "fmt": "{program} fmt    it needs no state",
    "get": "interlock plan    every run gets its modules by itself",
    "test": "{program} test    it has a state of its own",
    "login": "{program} login    it needs no state",
    "logout": "{program} logout    it needs no state",
}
_REFUSED: Final[Mapping[str, str]] = {
    "lock": "the run holds the lock",
    "lock-timeout": "interlock waits outside Terraform; bound it with --wait",
    "state": "the state is chosen with interlock's own --state",
    "state-out": "the state is chosen with interlock's own --state",
    "backup": "every version of the state is kept anyway",
    "backup-out": "every version of the state is kept anyway",
    "chdir": "name the folder as the argument of interlock exec",
    "input": "a supervised Terraform has nobody to ask",
}
_SEPARATE: Final = frozenset(
    {"var", "var-file", "config", "provider", "parallelism", "target", "replace"}
    | {"exclude", "target-file", "exclude-file"}  # OpenTofu's
)


class StateCommand(Struct, frozen=True, kw_only=True):
    """One command, read.

    Attributes:
        verb: Its name, such as `("state", "mv")`.
        rest: Its flags and words, without those in `values`.
        values: `-var`, `-var-file` and `-backend-config`, or every flag of a refresh: what a run hands over by itself.
        program: `terraform` or `tofu` as it was typed, or a path; empty for whichever is configured.
    """

    verb: tuple[str, ...]
    rest: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    program: str = ""

    @property
    def kind(self) -> _Kind:
        """What is known of it."""
        return _KINDS[self.verb]

    @property
    def words(self) -> tuple[str, ...]:
        """The command without its program and values, as an order keeps it."""
        return (*self.verb, *self.rest)

    def argv(self, *, lock: bool | None, values: Sequence[str]) -> tuple[str, ...]:
        """Return the words after the program.

        Args:
            lock: False where the run holds Terraform's own lock; None leaves Terraform its default.
            values: The flags that give variables, as they are handed over.
        """
        ours = (f"-lock={str(lock).lower()}",) if lock is not None and self.kind.locks else ()
        return (*self.verb, "-no-color", *ours, *(values if self.kind.values else ()), *self.rest)


def is_program(word: str) -> bool:
    """Say whether a word starts Terraform: `terraform`, `tofu`, or a path that ends so."""
    return PurePosixPath(word).name in PROGRAMS


def is_verb(words: Sequence[str]) -> bool:
    """Say whether words begin with a command of Terraform, whether or not a run carries it out."""
    return tuple(words[:2]) in _KINDS or tuple(words[:1]) in _KINDS or bool(words and words[0] in {*_INSTEAD, "state"})


def read_command(words: Sequence[str]) -> StateCommand:
    """Read a command as it is typed after `--`.

    Args:
        words: With or without the program.

    Raises:
        UsageError: It is none that a run carries out, or has a flag that would break what a run promises.
    """
    program = words[0] if words and is_program(words[0]) else ""
    rest = list(words[1:] if program else words)
    if rest and (found := next((flag for flag in rest[:1] if flag.lstrip("-").startswith("chdir=")), None)):
        raise _refuse_flag(found)
    verb = next((verb for verb in (tuple(rest[:2]), tuple(rest[:1])) if verb in _KINDS), None)
    if verb is None:
        raise _unknown(rest, program or _USUAL)
    kept, values = _divided(rest[len(verb) :], everything=_KINDS[verb].effect is Effect.REFRESHES)
    if _KINDS[verb].effect is Effect.REFRESHES and kept:
        name = PurePosixPath(program or _USUAL).name
        raise UsageError(f"{name} refresh takes no words: {kept[0]!r}", fix=_example(program or _USUAL))
    if verb == ("state", "replace-provider") and "-auto-approve" not in kept:
        raise UsageError(
            "state replace-provider asks, and a supervised Terraform has nobody to ask",
            fix="repeat with -auto-approve after replace-provider",
        )
    return StateCommand(verb=verb, rest=kept, values=values, program=program)


def _unknown(rest: Sequence[str], program: str) -> UsageError:
    named = " ".join(rest[:2]) if rest[:1] in (["state"], ["providers"]) else " ".join(rest[:1])
    known = ", ".join(" ".join(verb) for verb in _KINDS)
    if not named:
        return UsageError("no command of Terraform is named", why=f"exec knows {known}", fix=_example(program))
    instead = _INSTEAD.get(named, _INSTEAD.get(named.split()[0], ""))
    fix = instead.format(program=shlex.quote(program)) if instead else _example(program)
    what = f"interlock exec does not run {PurePosixPath(program).name} {named[:100]}"
    return UsageError(what, why=f"it knows {known}", fix=fix)


def _example(program: str) -> str:
    return command("exec", "--", program, "state", "list")


def _divided(words: Sequence[str], *, everything: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words that stay and the flags that a run hands over; refuse what it cannot pass on."""
    kept: list[str] = []
    values: list[str] = []
    rest = iter(words)
    for word in rest:
        if not word.startswith("-") or word == "-":
            kept += [word, *rest]
            break
        name, equals, _ = word.lstrip("-").partition("=")
        if name in _REFUSED:
            raise _refuse_flag(word)
        both = [word, *([next(rest, "")] if name in _SEPARATE and not equals else [])]
        if name != "no-color":
            (values if everything or name in {"var", "var-file", "backend-config"} else kept).extend(both)
    return tuple(kept), tuple(values)


def _refuse_flag(word: str) -> UsageError:
    name = word.lstrip("-").partition("=")[0]
    return UsageError(f"Terraform's -{name} cannot be passed on", why=_REFUSED[name], fix=f"leave out -{name}")
