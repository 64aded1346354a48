"""What people type who know Terraform, turned into what our commands are called, or into the place where it is.

`interlock plan -var x=1` means what it means to Terraform; `-auto-approve` is our own flag; `interlock logs -f` and
`help plan` are found; `interlock validate` names the command that does it. Nothing heavy is imported here: every
command line passes through.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from interlock.errors import PROGRAM, UsageError, command
from interlock.options import RUN_OPTIONS

_RUNS: Final = frozenset({"plan", "apply", "destroy", "drift", "import"})
_WITH_ROOTS: Final = _RUNS | {"roots"}
_WITH_VALUE: Final = frozenset(
    {"var", "var-file", "target", "exclude", "replace", "parallelism", "backend-config", "lock-timeout", "lockfile"}
    | {"plugin-dir", "generate-config-out", "state", "state-out", "backup", "target-file", "exclude-file"}
)
_TERRAFORMS: Final = _WITH_VALUE | {
    *("refresh", "refresh-only", "lock", "input", "compact-warnings", "no-color", "destroy", "upgrade", "reconfigure"),
    *("migrate-state", "force-copy", "detailed-exitcode", "show-sensitive", "allow-deferral", "suppress-forget-errors"),
}
"""Flags of Terraform that a run passes on, or refuses with a reason: both happen where flags after -- are read."""
_NOT_OURS: Final = frozenset({"state", "plan", "wait", "deadline", "retries", "terraform"})
"""With one dash these are not ours: `-state=FILE` is Terraform's, and means a file."""
_ON_A_STATE: Final = frozenset(
    {"taint", "untaint", "refresh", "console", "graph", "providers", "validate", "state mv", "state rm"}
    | {"state list", "state replace-provider"}
)
_ELSEWHERE: Final = {
    "fmt": (f"{PROGRAM} fmt", "it needs no state and no lock"),
    "get": ("interlock plan", "every run gets its modules by itself"),
    "test": (f"{PROGRAM} test", "it makes a state of its own"),
    "show": ("interlock runs show latest --plan", "a plan is kept with its run; a state is shown by its name"),
    "workspace": ("interlock state ls", "a workspace begins with its first apply: TF_WORKSPACE=NAME interlock apply"),
    "metadata": (f"{PROGRAM} metadata functions -json", "it needs no state"),
    "unlock": ("interlock force-unlock STATE", "it breaks a lock only on proof that its holder is gone"),
    "ls": ("interlock runs ls", "or interlock state ls, queue ls, lock ls"),
    "history": ("interlock state history", "a history is that of a state"),
    "cancel": ("interlock runs cancel latest", "a run is cancelled by its id"),
    "restore": ("interlock state restore", "it makes an earlier version current"),
}


def translate(arguments: Sequence[str]) -> list[str]:
    """Return a command line in our own words; one that is in them already, as it is.

    Raises:
        UsageError: It is a command of Terraform that is somewhere else here.
    """
    own, rest = _divided(arguments)
    if not own:
        return list(arguments)
    own = _with_base(_renamed(own))
    _point_elsewhere(own)
    if own[0] in _RUNS and {"-v", "--verbose"} & set(own):
        raise UsageError("a run has no -v", why="its journal says everything", fix="interlock runs logs latest")
    own = ["--help" if word in {"-h", "-help"} else word for word in own]
    if own[0] == "output":
        return [*(f"-{word}" if word in {"-json", "-raw"} else word for word in own), *rest]
    if own[0] not in _RUNS:
        return [*own, *rest]
    kept, passed = _with_terraforms_flags(own[0], own[1:])
    return [own[0], *kept, *(["--", *passed, *rest[1:]] if passed else rest)]


def _divided(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words before `--`, and the rest with it."""
    words = list(arguments)
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at:]


def _renamed(own: list[str]) -> list[str]:
    """Return the words with a command under its own name."""
    match own:
        case ["help"]:
            return ["--help"]
        case ["help", *named]:
            return [*named, "--help"]
        case ["version", *_] | ["-v" | "-version"]:
            return ["--version"]
        case ["logs", *more]:
            named = [word for word in more if not word.startswith("-")]
            return ["runs", "logs", *([] if named else ["latest"]), *more]
        case _:
            return own


def _with_base(own: list[str]) -> list[str]:
    """Return the words with an empty base behind a bare `--changed`: a parser would take the next flag for one."""
    if own[0] not in _WITH_ROOTS:
        return own
    following = [*own[1:], "--"]
    return [
        "--changed=" if word == "--changed" and after.startswith("-") else word
        for word, after in zip(own, following, strict=True)
    ]


def _point_elsewhere(own: Sequence[str]) -> None:
    """Say where a command of Terraform is that is no command of ours.

    Raises:
        UsageError: It is one.
    """
    for count in (2, 1):
        name = " ".join(own[:count])
        if name in _ON_A_STATE:
            words = [word for word in own if not word.startswith("--")]
            fix = command("exec", "--", PROGRAM, *words)
            raise UsageError(f"interlock {name} is a command of Terraform", why="exec runs it under the lock", fix=fix)
    if own[0] in _ELSEWHERE:
        fix, why = _ELSEWHERE[own[0]]
        raise UsageError(f"there is no command {own[0]!r}", why=why, fix=fix)


def _with_terraforms_flags(name: str, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide the words of a run: ours, with two dashes, and Terraform's, which belong behind `--`."""
    ours = {option.name: bool(option.value) for option in RUN_OPTIONS if name in option.commands}
    kept: list[str] = []
    passed: list[str] = []
    rest = iter(words)
    for word in rest:
        flag, equals, _ = word.lstrip("-").partition("=")
        single = word.startswith("-") and not word.startswith("--") and len(word) > 2  # noqa: PLR2004 - a dash and a letter
        if flag in ours and (word.startswith("--") or (single and flag not in _NOT_OURS)):
            kept += [f"-{word}" if single else word, *_value(rest, wanted=ours[flag] and not equals)]
        elif flag in _TERRAFORMS and (single or (word.startswith("--") and flag not in ours)):
            passed += [word, *_value(rest, wanted=flag in _WITH_VALUE and not equals)]
        else:
            kept.append(word)
    return kept, passed


def _value(rest: Iterator[str], *, wanted: bool) -> list[str]:
    return [value] if wanted and (value := next(rest, None)) is not None else []
