"""Every failure Interlock reports, as a few families with a code and an exit status.

A class exists only where a caller would act differently. Each carries the three parts that a person needs:
what happened, why, and the next command. Views write the sentence; raisers give the facts.
"""

from __future__ import annotations

import errno
from pathlib import PurePath
from typing import ClassVar, Final, Self

from interlock.foreign_text import shell_word

THIS_STATE: Final = "{state}"
"""Stands in a hint for the state or root module that the command at hand is about, where a raiser does not know it.

Whoever knows fills it in: `InterlockError.naming`.
"""

PROGRAM: Final = "{terraform}"
"""Stands in a hint for the program that the person uses, `terraform` or `tofu`, where a raiser does not know it.

Whoever knows fills it in: `InterlockError.running`. A face that cannot know says `USUAL_PROGRAM`.
"""
USUAL_PROGRAM: Final = "terraform"


def command(*words: object) -> str:
    """Return an `interlock` command line for a hint, each word quoted as a shell needs it.

    Args:
        words: The words after `interlock`, such as `"state", "restore", name, "--version", 7`.
    """
    return " ".join(("interlock", *map(_word, words)))


def _word(word: object) -> str:
    text = str(word)
    if text in (THIS_STATE, PROGRAM):
        return text
    # a folder that is called like a flag must not become one
    return shell_word(f"./{text}" if isinstance(word, PurePath) and text.startswith("-") else text)


def reason_of(error: BaseException) -> str:
    """Return why something failed in plain words: without numbers of the operating system or types of a library."""
    match error:
        case UnicodeDecodeError():
            return "it is not text in UTF-8"
        case OSError(strerror=str(text)) if text:
            return text[:1].lower() + text[1:]
        case KeyError():
            return f"{error} is missing"
        case TypeError() | AttributeError():
            return "it has not the expected form"
        case _:
            return _of_library(error)


def _of_library(error: BaseException) -> str:
    library = type(error).__module__.partition(".")[0]
    if library == "json":
        return f"it is not JSON (line {getattr(error, 'lineno', 0)}, column {getattr(error, 'colno', 0)})"
    if library == "msgspec":
        return _of_form(str(error))
    return str(error) or type(error).__name__


def _of_form(said: str) -> str:
    """Return what is wrong with a document, from the words of the library that read it."""
    place = said.partition(" - at `")[2].rstrip("`").removeprefix("$").strip(".")
    if said.startswith(("Expected", "Object missing", "Invalid")):
        return f"it has not the expected form at {place}" if place else "it has not the expected form"
    return "it is not JSON"


def fill_in(hint: str, state: str) -> str:
    """Return a hint with `THIS_STATE` replaced by a state's name or its folder, quoted for a shell."""
    return hint.replace(THIS_STATE, shell_word(state))


def fill_in_program(hint: str, program: str = USUAL_PROGRAM) -> str:
    """Return a hint with `PROGRAM` replaced by the name that a person types."""
    return hint.replace(PROGRAM, program)


class InterlockError(Exception):
    """The root of all failures that Interlock reports on purpose.

    Args:
        what: What happened, one line, no final full stop. Never contains a secret.
        why: The reason, as far as it is known; empty when `what` says it all.
        fix: The next command or action for the reader.
        facts: Named values for `--json`, such as `state="prod"`.
    """

    code: ClassVar[str] = "error"
    exit_status: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    meaning: ClassVar[str] = "error not listed below"

    def __init__(self, what: str, *, why: str = "", fix: str = "", **facts: object) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix
        self.facts = facts

    def naming(self, state: str) -> Self:
        """Fill in which state or root module the hint is about, and return the same error.

        Args:
            state: As a person would type it: a state's name, or the folder of its root module.
        """
        self.fix = fill_in(self.fix, state)
        return self

    def running(self, program: str) -> Self:
        """Fill in which program the hint is for, and return the same error.

        Args:
            program: As the person types it, `terraform` or `tofu`.
        """
        self.fix = fill_in_program(self.fix, program)
        return self

    def __str__(self) -> str:
        """All parts on one line, for logs; views print three lines."""
        fix = fill_in_program(fill_in(self.fix, "."))
        return " | ".join(part for part in (self.what, self.why, fix) if part)


class UsageError(InterlockError):
    """The command line or the configuration is wrong; nothing was done."""

    code = "usage"
    exit_status = 3
    http_status = 400
    meaning = "usage or configuration"


class WaitTimeout(InterlockError):
    """The run gave up waiting for its turn."""

    code = "wait-timeout"
    exit_status = 10
    http_status = 423
    meaning = "gave up waiting for the lock"


class Superseded(InterlockError):
    """The run was cancelled or replaced while it waited."""

    code = "superseded"
    exit_status = 11
    http_status = 409
    meaning = "superseded or cancelled while waiting"


class LeaseLost(InterlockError):
    """The run's grant is no longer current; the run is fenced."""

    code = "lease-lost"
    exit_status = 12
    http_status = 409
    meaning = "lease lost, run fenced"


class LockHeld(InterlockError):
    """The lock is held and its holder is not provably gone."""

    code = "lock-held"
    exit_status = 13
    http_status = 423
    meaning = "lock held, its holder not provably gone"


class StateInvalid(InterlockError):
    """A state failed verification, or may not follow the current one."""

    code = "state-invalid"
    exit_status = 20
    http_status = 409
    meaning = "state failed verification"


class PlanStale(InterlockError):
    """The saved plan was made from another state, or from other files, than the current ones."""

    code = "plan-stale"
    exit_status = 21
    http_status = 409
    meaning = "saved plan is stale"


class MergeConflict(InterlockError):
    """Two runs changed the same resource instance in different ways."""

    code = "merge-conflict"
    exit_status = 22
    http_status = 409
    meaning = "merge conflict"


class StateSuspect(InterlockError):
    """What an apply wrote lacks objects that nothing took out. It is stored, and paused for review.

    Not a refusal: nothing is lost. Not a success: somebody has to look before anybody builds on it.
    """

    code = "state-suspect"
    exit_status = 23
    http_status = 409
    meaning = "state stored as suspect, held for review"


class BackendUnavailable(InterlockError):
    """The store or backend is throttled, unreachable or unreadable."""

    code = "backend-unavailable"
    exit_status = 30
    http_status = 503
    meaning = "backend throttled or unreachable"


FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Error numbers of a disk, or a quota, that is full."""


def disk_full(error: OSError, folder: object) -> BackendUnavailable:
    """Say that a disk is full: not a defect, and no fault of the run's."""
    return BackendUnavailable(
        "the disk is full", why=f"{folder}: {error.strerror or error}", fix=f"df -h {shell_word(str(folder))}"
    )


class BudgetExhausted(InterlockError):
    """The Genesys API budget cannot carry the run within its deadline."""

    code = "budget-exhausted"
    exit_status = 31
    http_status = 429
    meaning = "Genesys API budget exhausted beyond the deadline"


class AuthenticationFailed(InterlockError):
    """Credentials are missing, wrong, expired or without permission."""

    code = "authentication"
    exit_status = 32
    http_status = 401
    meaning = "authentication failed or expired"


class DependencyRejected(InterlockError):
    """The API rejected a change because another object depends on it."""

    code = "dependency"
    exit_status = 33
    http_status = 409
    meaning = "API rejected a change because of a dependency"


class TerraformFailed(InterlockError):
    """Terraform failed for a reason of its own."""

    code = "terraform"
    exit_status = 34
    http_status = 500
    meaning = "Terraform failed for a reason of its own"


class DriftGate(InterlockError):
    """An apply would revert drift that nobody reviewed."""

    code = "drift-gate"
    exit_status = 40
    http_status = 409
    meaning = "drift gate"


class PolicyGate(InterlockError):
    """A policy or an approval stopped the run before it changed anything."""

    code = "policy-gate"
    exit_status = 41
    http_status = 403
    meaning = "policy or approval gate"


class Interrupted(InterlockError):
    """SIGINT stopped the run; its state is saved and its lock released."""

    code = "interrupted"
    exit_status = 130
    http_status = 409
    meaning = "interrupted (SIGINT), state saved and lock released"


class Terminated(InterlockError):
    """SIGTERM, or the end of the front end, stopped the run; its state is saved and its lock released."""

    code = "terminated"
    exit_status = 143
    http_status = 409
    meaning = "interrupted (SIGTERM or front end gone), state saved and lock released"


class StateNotSaved(InterlockError):
    """The newest state could not be stored, or operations were cut off that may have taken effect without it."""

    code = "state-not-saved"
    exit_status = 131
    http_status = 500
    meaning = "state NOT or only partly saved (what was in flight, or the file that has the state, is named)"
