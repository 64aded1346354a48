"""A verb and its options -> the argument list and environment of one Terraform process.

Secrets travel in the environment only: nothing that Interlock adds to the argument list is one, and the
environment is left out of every `repr`.
Source: `terraform <verb> -help` of 1.11.4; docs/facts/terraform-http.md#http-19,
docs/facts/terraform-runs.md#run-13.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import ClassVar, Final, Literal

from msgspec import Struct

from interlock.errors import UsageError
from interlock.secrecy import PartlyShown

MAX_FLAGS: Final = 1000  # a Linux argument list holds far more; nobody types this many
MAX_PARALLELISM: Final = 1000


class Verb(Enum):
    """The commands that Interlock runs; the value is how Terraform spells it."""

    INIT = "init"
    PLAN = "plan"
    APPLY = "apply"
    SHOW = "show"
    OUTPUT = "output"
    GRAPH = "graph"
    VALIDATE = "validate"
    PROVIDERS = "providers"
    STATE_LIST = "state list"
    STATE_PULL = "state pull"
    STATE_PUSH = "state push"
    FORCE_UNLOCK = "force-unlock"
    VERSION = "version"


PlanMode = Literal["normal", "destroy", "refresh-only"]


class Options(PartlyShown, frozen=True, kw_only=True):
    """What one command shall do. An option that the verb does not know is refused by `build_command`.

    Attributes:
        json: Print events (or, for show and version, one document) for programs.
        lock: False adds `-lock=false`; None leaves Terraform's default.
        lock_timeout_s: Whole seconds that Terraform itself retries a held lock.
        out: Where plan writes its file.
        file: The plan to apply or show, or the state to push.
        lock_id: For force-unlock.
        mode: What to plan.
        backend_config: Lines for `-backend-config`; secrets must not be among them, they would be in the argument list.
        variables: Set through `TF_VAR_` in the environment, so values may be secret.
        extra: The user's own flags, put after ours and before a file name.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"variables"})

    json: bool = False
    lock: bool | None = None
    lock_timeout_s: int | None = None
    detailed_exitcode: bool = False
    out: str = ""
    file: str = ""
    lock_id: str = ""
    mode: PlanMode = "normal"
    refresh: bool = True
    parallelism: int | None = None
    auto_approve: bool = False
    upgrade: bool = False
    reconfigure: bool = False
    backend: bool = True
    backend_config: tuple[str, ...] = ()
    force: bool = False
    variables: Mapping[str, str] = {}
    extra: tuple[str, ...] = ()


class HttpBackend(PartlyShown, frozen=True, kw_only=True):
    """Where the run's state is; the addresses are good for one run only, and the password is a secret."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"address", "lock_address", "unlock_address", "password"})

    address: str
    lock_address: str = ""
    unlock_address: str = ""
    username: str = ""
    password: str = ""
    retry_max: int | None = None
    retry_wait_min_s: int | None = None
    retry_wait_max_s: int | None = None


class Place(Struct, frozen=True, kw_only=True):
    """Which program works where.

    Attributes:
        program: Path or name of terraform or tofu.
        folder: The root module, given as `-chdir`; empty for the process's own folder.
        data_dir: `TF_DATA_DIR`, so several runs may share one folder; empty for Terraform's `.terraform`.
        backend: The HTTP backend, given through `TF_HTTP_*`; None when the configuration names its own.
        workspace: `TF_WORKSPACE`; empty to leave Terraform its `default`.
    """

    program: str = "terraform"
    folder: str = ""
    data_dir: str = ""
    backend: HttpBackend | None = None
    workspace: str = ""


class Command(PartlyShown, frozen=True, kw_only=True):
    """One process to start: argument list, and variables to add to the environment (see `merge_environment`)."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"environment"})

    argv: tuple[str, ...]
    environment: Mapping[str, str]


_ACCEPTS: Final[Mapping[Verb, frozenset[str]]] = {
    Verb.INIT: frozenset({"json", "lock", "lock_timeout_s", "upgrade", "reconfigure", "backend", "backend_config"}),
    Verb.PLAN: frozenset(
        {"json", "lock", "lock_timeout_s", "detailed_exitcode", "out", "mode", "refresh", "parallelism", "variables"}
    ),
    Verb.APPLY: frozenset(
        {"json", "lock", "lock_timeout_s", "file", "mode", "refresh", "parallelism", "auto_approve", "variables"}
    ),
    Verb.SHOW: frozenset({"json", "file"}),
    Verb.OUTPUT: frozenset({"json"}),
    Verb.GRAPH: frozenset(),
    Verb.VALIDATE: frozenset({"json"}),
    Verb.PROVIDERS: frozenset(),
    Verb.STATE_LIST: frozenset(),
    Verb.STATE_PULL: frozenset(),
    Verb.STATE_PUSH: frozenset({"lock", "lock_timeout_s", "file", "force"}),
    Verb.FORCE_UNLOCK: frozenset({"lock_id", "force"}),
    Verb.VERSION: frozenset({"json"}),
}
_ALWAYS: Final = frozenset({"extra"})
_ASKS: Final = frozenset({Verb.INIT, Verb.PLAN, Verb.APPLY})  # those that know -input
_COLOURS: Final = frozenset({Verb.INIT, Verb.PLAN, Verb.APPLY, Verb.SHOW, Verb.OUTPUT, Verb.VALIDATE})

QUIET: Final[Mapping[str, str]] = {
    "TF_IN_AUTOMATION": "1",
    "TF_INPUT": "0",
    "CHECKPOINT_DISABLE": "1",  # no call home: a run's start must not hang on somebody else's server
}

DROPPED_VARIABLES: Final[frozenset[str]] = frozenset(
    {
        "TF_WORKSPACE",  # the HTTP backend knows only `default`; for others the place names it
        "TF_DATA_DIR",  # each run has its own
    }
)
"""Taken from the user's environment before ours are added, and so is what adds flags; see `_adds_flags`."""


def build_command(verb: Verb, options: Options, place: Place) -> Command:
    """Spell the command.

    Raises:
        UsageError: An option does not belong to the verb, or a needed one is missing or out of range.
    """
    _check(verb, options)
    flags = [*_flags(verb, options), *options.extra]
    folder = [f"-chdir={place.folder}"] if place.folder else []
    argv = (place.program, *folder, *verb.value.split(), *flags, *_arguments(verb, options))
    return Command(argv=argv, environment=_environment(options, place))


def http_environment(backend: HttpBackend) -> dict[str, str]:
    """Return the `TF_HTTP_*` variables of a backend; nothing of them ends up in saved plans."""
    values = {
        "ADDRESS": backend.address,
        "LOCK_ADDRESS": backend.lock_address,
        "UNLOCK_ADDRESS": backend.unlock_address,
        "USERNAME": backend.username,
        "PASSWORD": backend.password,
        "RETRY_MAX": _digits(backend.retry_max),
        "RETRY_WAIT_MIN": _digits(backend.retry_wait_min_s),
        "RETRY_WAIT_MAX": _digits(backend.retry_wait_max_s),
    }
    return {f"TF_HTTP_{name}": value for name, value in values.items() if value}


def merge_environment(inherited: Mapping[str, str], command: Command) -> dict[str, str]:
    """Return the whole environment: the inherited one without what would redirect the run, then the command's own."""
    kept = {
        name: value
        for name, value in inherited.items()
        if name not in DROPPED_VARIABLES
        and not _adds_flags(name)
        and not (name.startswith("TF_HTTP_") and "TF_HTTP_ADDRESS" in command.environment)
    }
    return {**kept, **command.environment}


def _adds_flags(name: str) -> bool:
    """Say whether a variable adds flags to commands, as -lock=false; those of a plan are the caller's to judge."""
    return name.startswith("TF_CLI_ARGS") and name != "TF_CLI_ARGS_plan"


def _digits(number: int | None) -> str:
    return "" if number is None else str(number)


def _environment(options: Options, place: Place) -> dict[str, str]:
    environment = dict(QUIET)
    if place.data_dir:
        environment["TF_DATA_DIR"] = place.data_dir
    if place.workspace:
        environment["TF_WORKSPACE"] = place.workspace
    if place.backend is not None:
        environment.update(http_environment(place.backend))
    environment.update({f"TF_VAR_{name}": value for name, value in options.variables.items()})
    return environment


def _check(verb: Verb, options: Options) -> None:
    plain = Options()
    accepted = _ACCEPTS[verb] | _ALWAYS
    names = (name for name in Options.__struct_fields__ if name not in accepted)
    wrong = [name for name in names if getattr(options, name) != getattr(plain, name)]
    if wrong:
        raise UsageError(f"terraform {verb.value} has no option for {', '.join(wrong)}", fix="leave it out")
    if verb is Verb.FORCE_UNLOCK and not options.lock_id:
        raise UsageError("force-unlock needs a lock id", fix="interlock lock ls")
    if verb is Verb.STATE_PUSH and not options.file:
        raise UsageError("state push needs a file", fix="name the file to push")
    if options.parallelism is not None and not 1 <= options.parallelism <= MAX_PARALLELISM:
        raise UsageError(
            f"-parallelism={options.parallelism} is out of range",
            fix=f"choose 1 to {MAX_PARALLELISM}; Terraform's is 10",
        )
    if len(options.extra) > MAX_FLAGS:
        raise UsageError(f"{len(options.extra)} extra flags", fix=f"give at most {MAX_FLAGS}")


def _flags(verb: Verb, options: Options) -> Iterator[str]:
    if verb in _ASKS:
        yield "-input=false"
    if verb in _COLOURS:
        yield "-no-color"
    if options.json:
        yield "-json"
    if options.lock is not None:
        yield f"-lock={str(options.lock).lower()}"
    if options.lock_timeout_s is not None:
        yield f"-lock-timeout={options.lock_timeout_s}s"
    yield from _verb_flags(verb, options)


def _verb_flags(verb: Verb, options: Options) -> Iterator[str]:
    match verb:
        case Verb.INIT:
            yield from _init_flags(options)
        case Verb.PLAN | Verb.APPLY:
            yield from _plan_flags(options)
        case Verb.STATE_PUSH | Verb.FORCE_UNLOCK if options.force:
            yield "-force"
        case _:
            return


def _init_flags(options: Options) -> Iterator[str]:
    if not options.backend:
        yield "-backend=false"
    if options.upgrade:
        yield "-upgrade"
    if options.reconfigure:
        yield "-reconfigure"
    yield from (f"-backend-config={line}" for line in options.backend_config)


def _plan_flags(options: Options) -> Iterator[str]:
    if options.mode != "normal":
        yield f"-{options.mode}"
    if not options.refresh:
        yield "-refresh=false"
    if options.parallelism is not None:
        yield f"-parallelism={options.parallelism}"
    if options.detailed_exitcode:
        yield "-detailed-exitcode"
    if options.out:
        yield f"-out={options.out}"
    if options.auto_approve:
        yield "-auto-approve"


def _arguments(verb: Verb, options: Options) -> tuple[str, ...]:
    if verb is Verb.FORCE_UNLOCK:
        return (options.lock_id,)
    return (options.file,) if options.file else ()


class UserFlags(Struct, frozen=True, kw_only=True):
    """The user's flags, each list for the command that understands it.

    Attributes:
        init: For `init`.
        plan: For `plan`.
        apply: For `apply` of a saved plan.
        values: Those of `plan` that give variables; `apply` needs them again for ephemeral ones.
    """

    init: tuple[str, ...] = ()
    plan: tuple[str, ...] = ()
    apply: tuple[str, ...] = ()
    values: tuple[str, ...] = ()


_INIT_ONLY: Final = frozenset(
    {
        "backend-config",
        "upgrade",
        "plugin-dir",
        "lockfile",
        "get",
        "from-module",
        "reconfigure",
        "migrate-state",
        "force-copy",
    }
)
_APPLY_ONLY: Final = frozenset({"suppress-forget-errors"})  # OpenTofu 1.12
_BOTH: Final = frozenset({"parallelism", "compact-warnings"})  # understood by `apply PLANFILE` too
_VALUES: Final = frozenset({"var", "var-file"})
_TAKES_VALUE: Final = frozenset(
    {
        "var",
        "var-file",
        "target",
        "target-file",
        "exclude",
        "exclude-file",
        "replace",
        "parallelism",
        "backend-config",
        "plugin-dir",
        "lockfile",
        "from-module",
        "generate-config-out",
        "lock-timeout",
    }
)
_PLANNED: Final = frozenset(
    {
        *("var", "var-file", "target", "target-file", "exclude", "exclude-file", "replace"),
        *("refresh", "parallelism"),
    }
)
_OF_ANOTHER_KIND: Final = frozenset({"destroy", "refresh-only"})
_OFF: Final = ("=false", "=f", "=0")
_REFUSED: Final[Mapping[str, str]] = {
    "out": "Interlock keeps the plan and applies exactly that one",
    "state": "the run's state is chosen with --state",
    "state-out": "the run's state is chosen with --state",
    "backup": "every version of the state is kept anyway",
    "chdir": "name the folder as the argument of interlock instead",
    "lock": "a write without the lock would be refused; waiting is bounded with --wait",
    "lock-timeout": "Interlock waits outside Terraform; bound it with --wait",
    "auto-approve": "approve with interlock's own --auto-approve",
    "input": "a supervised Terraform has nobody to ask",
    "json": "Interlock reads Terraform's events itself; use interlock's own --json",
    "no-color": "Interlock reads Terraform's events itself; set NO_COLOR",
    "detailed-exitcode": "use interlock's own --detailed-exitcode",
    "destroy": "use interlock destroy",
    "refresh-only": "use interlock drift",
    "help": "use interlock's own --help",
}


def divide_flags(flags: Sequence[str]) -> UserFlags:
    """Give each of the user's flags (after `--`) to the command that understands it.

    A flag that we do not know goes to `plan`, where Terraform itself names it if it is wrong.

    Raises:
        UsageError: A flag would break what the run promises (such as `-lock=false`), or there is a bare word.
    """
    divided: dict[str, list[str]] = {"init": [], "plan": [], "apply": [], "values": []}
    for name, words in _grouped(flags):
        if name in _REFUSED:
            raise UsageError(f"Terraform's -{name} cannot be passed on", why=_REFUSED[name], fix=f"leave out -{name}")
        divided[_first_to_know(name)].extend(words)
        if name in _BOTH:
            divided["apply"].extend(words)
        if name in _VALUES:
            divided["values"].extend(words)
    return UserFlags(**{name: tuple(words) for name, words in divided.items()})


def flags_for_plan(flags: Sequence[str], *, mode: PlanMode) -> tuple[str, ...]:
    """Return of the flags in a variable of the environment those that say what is planned, or how many at once.

    The others, such as -lock-timeout, are about what a run does by itself.

    Args:
        flags: The flags.
        mode: The kind of plan that is made.

    Raises:
        UsageError: One asks for another kind of plan, or there is a bare word.
    """
    kept: list[str] = []
    for name, words in _grouped(flags):
        if name in _OF_ANOTHER_KIND and name != mode and not words[0].lower().endswith(_OFF):
            raise UsageError(f"-{name} makes another plan", why=_REFUSED[name])
        if name in _PLANNED:
            kept += words
    return tuple(kept)


def _first_to_know(flag: str) -> str:
    if flag in _APPLY_ONLY:
        return "apply"
    return "init" if flag in _INIT_ONLY else "plan"


def without_backend(flags: Sequence[str]) -> tuple[str, ...]:
    """Return flags for `init` without those that say where the state is."""
    return tuple(word for name, words in _grouped(flags) if name != "backend-config" for word in words)


def _grouped(flags: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each flag's name with its words, whether written `-var=a=1`, `--var=a=1` or `-var a=1`."""
    rest = iter(flags[: MAX_FLAGS + 1])
    for word in rest:
        name, equals, _ = word.lstrip("-").partition("=")
        if not word.startswith("-") or not name:
            raise UsageError(f"{word[:100]!r} is not a Terraform flag", fix="put only flags after --")
        value = next(rest, None) if name in _TAKES_VALUE and not equals else None
        yield name, (word,) if value is None else (word, value)
