"""Shell commands -> what they do with Terraform: the verb, its flags and how it is run.

Knows: shell. Knows `terraform`, `tofu`, `terragrunt` and `interlock` command lines and the programs people put in
front of them. Knows nothing of CI systems. Flags: Terraform's own command line help, 1.11.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from interlock.ci.shell import Command, Loop, Word, parse
from interlock.options import is_switch
from interlock.source.tree import Span

Locate = Callable[[int, int], Span]
"""Offsets in a script -> the place in the file where that script is written."""

MAX_OPERATIONS = 500  # of one step
MAX_WRAPPERS = 8  # programs in front of a program: `sudo timeout 5m aws-vault exec prod -- terraform`

_LOCKING = frozenset({"plan", "apply", "destroy", "refresh", "import", "taint", "untaint", "console"})
_WRITING = frozenset({"apply", "destroy", "refresh", "import", "taint", "untaint"})
_STATE_WRITES = frozenset({"state mv", "state rm", "state push", "state replace-provider"})
_GROUPS = frozenset({"state", "workspace", "providers", "ci", "lock", "queue", "runs"})
_BOOLEAN = frozenset(
    {
        *("auto-approve", "check-variables", "compact-warnings", "destroy", "detailed-exitcode", "diff", "force"),
        *("force-copy", "get", "get-plugins", "input", "json", "list", "lock", "migrate-state", "no-color"),
        *("reconfigure", "recursive", "refresh", "refresh-only", "upgrade", "verify-plugins", "write"),
    }
)  # a Terraform flag outside this list takes the next word when it has no `=`


class Tool(enum.Enum):
    """The program that does it."""

    TERRAFORM = "terraform"
    TOFU = "tofu"
    TERRAGRUNT = "terragrunt"
    INTERLOCK = "interlock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One flag without its dashes; `value` is None for a bare one."""

    name: str
    value: str | None
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One positional argument."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Something runs the operation again when it fails, and whether it waits in between."""

    span: Span
    waits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One use of Terraform.

    Attributes:
        tool: The program.
        verb: `plan`, `apply`, `state mv`, `force-unlock`, `wait`, ...
        span: The command, from the program's name on.
        flags: In order; those behind Interlock's `--` and those of TF_CLI_ARGS in the command's own script included.
        arguments: Positional ones behind the verb.
        directory: `-chdir`, else the directory of the step, "" for the default.
        exports: Environment that the script itself sets for it.
        replaces_shell: It is `exec`-ed, so signals to the step's process reach it.
        signals: Signals that the script's traps pass on.
        retry: What repeats it, if anything.
        ignored: Its failure is thrown away.
        answered: Something types `yes` into it.
        by_task: A CI system's own task runs it, not a shell.
        verb_span: The place of the verb in a command line; None for a task.
    """

    tool: Tool
    verb: str
    span: Span
    flags: tuple[Flag, ...] = ()
    arguments: tuple[Argument, ...] = ()
    directory: str = ""
    exports: Mapping[str, str] = field(default_factory=dict)
    replaces_shell: bool = False
    signals: frozenset[str] = frozenset()
    retry: Retry | None = None
    ignored: bool = False
    answered: bool = False
    by_task: bool = False
    verb_span: Span | None = None

    def flag(self, name: str) -> Flag | None:
        """Return the last flag of that name: the one that counts."""
        return next((flag for flag in reversed(self.flags) if flag.name == name), None)

    def has(self, name: str) -> bool:
        """Say whether a boolean flag is set (`-x`, `-x=true`)."""
        flag = self.flag(name)
        return flag is not None and (flag.value or "true").lower() in ("true", "1", "t")

    def is_off(self, name: str) -> bool:
        """Say whether a boolean flag is switched off (`-x=false`)."""
        flag = self.flag(name)
        return flag is not None and (flag.value or "").lower() in ("false", "0", "f")

    @property
    def is_plain(self) -> bool:
        """Whether Terraform runs without Interlock around it."""
        return self.tool is not Tool.INTERLOCK

    @property
    def takes_lock(self) -> bool:
        """Whether it wants the state's lock."""
        return (self.verb in _LOCKING or self.verb in _STATE_WRITES) and not self.is_off("lock")

    @property
    def writes_state(self) -> bool:
        """Whether it may write a state."""
        return self.verb in _WRITING or self.verb in _STATE_WRITES

    @property
    def applies(self) -> bool:
        """Whether it changes the organisation."""
        return self.verb in ("apply", "destroy")

    @property
    def plans(self) -> bool:
        """Whether it makes a plan to look at."""
        return self.verb == "plan"

    @property
    def approved(self) -> bool:
        """Whether nobody is asked before it acts."""
        return self.has("auto-approve") or self.answered

    @property
    def plan_file(self) -> str | None:
        """The plan that an apply was given, or that a plan writes; None without one."""
        if self.plans:
            flag = self.flag("out")
        elif self.tool is Tool.INTERLOCK:
            flag = self.flag("plan")
        else:
            return self.arguments[0].text if self.verb == "apply" and self.arguments else None
        return flag.value if flag else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A script file or make target that a step runs.

    Attributes:
        kind: `script` or `make`.
        name: The path as written, or the target.
        folder: For make: `-C`.
        file: For make: `-f`.
        span: The call.
        directory: Where it runs, "" for the default.
        replaces_shell: It is `exec`-ed or sourced, so what its script forwards is forwarded.
        arguments: The words behind the script's name.
    """

    kind: str
    name: str
    span: Span
    folder: str = ""
    file: str = ""
    directory: str = ""
    replaces_shell: bool = False
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A command as it will run: wrappers taken off."""

    words: tuple[Word, ...]
    command: Command
    replaces_shell: bool
    locate: Locate

    @property
    def name(self) -> str:
        """The program's base name."""
        return self.words[0].text.rsplit("/", 1)[-1]

    @property
    def text(self) -> str:
        """The words joined by blanks, as far as they are known."""
        return " ".join(word.text for word in self.words)

    @property
    def span(self) -> Span:
        """From the program's name to the last argument."""
        return self.locate(self.words[0].start, self.words[-1].end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one script does: its programs in order, and those of them that are Terraform or other files."""

    programs: tuple[Program, ...] = ()
    operations: tuple[Operation, ...] = ()
    calls: tuple[Call, ...] = ()


def read(text: str, locate: Locate, *, directory: str = "", own_folder: str = "") -> Reading:
    """Read a script.

    Args:
        text: The script.
        locate: Where its characters are written.
        directory: The directory in which it starts, "" for the default.
        own_folder: The folder of the script's file, which `dirname "$0"` names; "" for a script in a CI file.
    """
    script = parse(text)
    programs = tuple(_programs(script.commands, locate))
    places = places_of(programs, directory, own_folder)
    return Reading(
        programs=programs,
        operations=tuple(_operations(programs, script.forwards, places))[:MAX_OPERATIONS],
        calls=tuple(
            replace(call, directory=place)
            for program, place in zip(programs, places, strict=True)
            for call in _calls([program])
        ),
    )


def _programs(commands: Iterable[Command], locate: Locate, depth: int = 0) -> Iterator[Program]:
    for command in commands:
        words, replaces = _unwrapped(command.words)
        if not words:
            continue
        program = Program(words=words, command=command, replaces_shell=replaces, locate=locate)
        inner = _inner_script(program)
        if inner is None or depth >= MAX_WRAPPERS:
            yield program
            continue
        yield from _inner_programs(inner, program, locate, depth)


def _inner_programs(inner: Word, outer: Program, locate: Locate, depth: int) -> Iterator[Program]:
    """Yield the programs of `bash -c "..."`; the last one of an exec-ed simple command replaces the shell as well."""
    base = inner.start + 1

    def place(start: int, end: int) -> Span:
        return locate(min(base + start, inner.end), min(base + end, inner.end))

    commands = parse(inner.text).commands
    for program in _programs(commands, place, depth + 1):
        # bash executes a lone simple command of -c without forking, so it then stands in the shell's place
        alone = len(commands) == 1 and outer.replaces_shell
        yield Program(
            words=program.words,
            command=program.command,
            replaces_shell=outer.replaces_shell and (program.replaces_shell or alone),
            locate=place,
        )


def _inner_script(program: Program) -> Word | None:
    if program.name not in ("bash", "sh", "dash", "zsh", "ash"):
        return None
    words = program.words
    for index, word in enumerate(words[1:-1], start=1):
        if re.fullmatch(r"-[a-z]*c", word.text):
            return words[index + 1]
    return None


# Wrapper -> how many words of its own follow its flags, or None when `--` ends them.
_WRAPPERS: Mapping[str, int | None] = {
    "sudo": 0, "time": 0, "nice": 0, "nohup": 0, "stdbuf": 0, "command": 0, "builtin": 0, "setsid": 0, "unbuffer": 0,
    "env": 0, "timeout": 1, "dumb-init": 0, "tini": 0, "ionice": 0, "chrt": 1,
    "aws-vault": None, "op": None, "doppler": None, "chamber": None, "infisical": None, "dotenv": None, "vault-env": 0,
    "teller": None, "sops": None, "mise": None, "asdf": None, "direnv": None, "poetry": None, "uv": None,
}  # fmt: skip
_RUN_ONLY = frozenset({"uv", "poetry"})  # wrappers by their verb `run` alone
_VALUED_WRAPPER_FLAGS = frozenset({"-u", "-n", "-k", "-s", "-i", "-o", "-e", "-g", "-C", "--kill-after", "--signal"})
_FORKS = frozenset({"sudo", "time", "timeout", "unbuffer", "setsid"})  # these stay around and decide about signals
_PASSES_SIGNALS = frozenset({"timeout", "dumb-init", "tini"})  # relay what they receive
_IMAGE = re.compile(r"(?:.*/)?(?:hashicorp/terraform|opentofu/opentofu)(?::[\w.-]+)?\Z")


def _unwrapped(words: tuple[Word, ...]) -> tuple[tuple[Word, ...], bool]:
    """Return the words without the programs in front, and whether the rest takes the shell's place by `exec`."""
    replaces = False
    for _ in range(MAX_WRAPPERS):
        if not words:
            break
        name = words[0].text.rsplit("/", 1)[-1]
        if name == "exec":
            replaces, words = True, _behind_flags(words[1:])
        elif name in ("docker", "podman"):
            image = next((index for index, word in enumerate(words) if _IMAGE.match(word.text)), None)
            if image is None:
                break
            return _as_terraform(words, image), False
        elif name in _WRAPPERS:
            replaces = replaces and (name not in _FORKS or name in _PASSES_SIGNALS)
            rest = _behind_wrapper(words, _WRAPPERS[name])
            if rest is None:
                break
            words = rest
        else:
            break
    return words, replaces


def _as_terraform(words: tuple[Word, ...], image: int) -> tuple[Word, ...]:
    word = words[image]
    tool = "tofu" if "opentofu" in word.text else "terraform"
    return (Word(tool, word.start, word.end), *words[image + 1 :])


def _behind_flags(words: tuple[Word, ...]) -> tuple[Word, ...]:
    at = 0
    while at < len(words) and words[at].text.startswith("-") and words[at].text != "--":
        at += 2 if words[at].text in _VALUED_WRAPPER_FLAGS else 1
    return words[at + 1 :] if at < len(words) and words[at].text == "--" else words[at:]


def _behind_wrapper(words: tuple[Word, ...], own: int | None) -> tuple[Word, ...] | None:
    if own is None:
        if words[0].text in _RUN_ONLY and not any(word.text == "run" for word in words[1:]):
            return None  # `uv pip install interlock` runs no Interlock
        dashes = next((index for index, word in enumerate(words) if word.text == "--"), None)
        if dashes is not None:
            return words[dashes + 1 :]
        known = next((index for index, word in enumerate(words) if _tool(word.text)), None)
        return None if known is None else words[known:]
    rest = _behind_flags(words[1:])
    while rest and re.match(r"[A-Za-z_]\w*=", rest[0].text):  # env NAME=value
        rest = rest[1:]
    return rest[own:]


_HELPERS = {"gitlab-terraform": Tool.TERRAFORM, "gitlab-tofu": Tool.TOFU}
"""GitLab's wrappers: `plan` writes plan.cache, `apply` applies it, and neither asks."""


def _as_helper(operation: Operation, exports: Mapping[str, str]) -> Operation:
    """Add what GitLab's helper gives Terraform by itself."""
    plan = exports.get("TF_PLAN_CACHE", "plan.cache")
    if operation.plans:
        return replace(operation, flags=(*operation.flags, Flag(name="out", value=plan, span=operation.span)))
    if operation.verb == "apply" and not operation.arguments:
        return replace(operation, arguments=(Argument(text=plan, span=operation.span),))
    return operation


def _tool(word: str) -> Tool | None:
    base = word.rsplit("/", 1)[-1]
    if base in _HELPERS:
        return _HELPERS[base]
    if base in ("$TF", "${TF}", "$TERRAFORM", "${TERRAFORM}", "$TF_BIN", "${TF_BIN}", "$(TF)", "$(TERRAFORM)"):
        return Tool.TERRAFORM
    return next((tool for tool in Tool if tool.value == base), None)


_OWN_FOLDER = re.compile(r"\$\((?:cd \"?\$\()?dirname (?:-- )?\"?\$(?:0|\{?BASH_SOURCE[^)]*)\"?\)(?:\"? .*\))?")
"""`$(dirname "$0")`, as scripts find themselves."""
_CHECKOUT = re.compile(
    r"(?:\$\{?(?:GITHUB_WORKSPACE|CI_PROJECT_DIR|BUILD_SOURCESDIRECTORY|SYSTEM_DEFAULTWORKINGDIRECTORY|WORKSPACE)\}?"
    r"|\$\{\{ ?github\.workspace ?\}\}|\$\((?:Build\.SourcesDirectory|System\.DefaultWorkingDirectory)\)"
    r"|\$\(git rev-parse --show-toplevel\))(?=/|\Z)"
)
"""The folder of the checkout, as each CI system spells it."""


def places_of(programs: Sequence[Program], directory: str, own_folder: str = "") -> tuple[str, ...]:
    """Return the directory in which each program runs, after `cd`, `pushd` and `popd`.

    A `cd` inside `( ... )`, `$( ... )` or a function counts for what follows it there, and no further.
    """
    outer, inner, before, stack = directory, directory, directory, list[str]()
    found: list[str] = []
    for program in programs:
        nested = program.command.nested
        inner = inner if nested else outer
        here = inner if nested else outer
        found.append(here)
        match _move(program):
            case ("cd", "-"):
                here, before = before, here
            case ("cd", target):
                here, before = _stepped(here, target, own_folder), here
            case ("pushd", target):
                stack.append(here)
                here = _stepped(here, target, own_folder)
            case ("popd", _) if stack:
                here = stack.pop()
            case _:
                continue
        outer, inner = (outer, here) if nested else (here, here)
    return tuple(found)


def _move(program: Program) -> tuple[str, str] | None:
    words = [word.text for word in program.words[1:] if word.text in ("-", "--") or not word.text.startswith("-")]
    words = [word for word in words if word != "--"]
    if program.name == "popd":
        return ("popd", "")
    return (program.name, words[0]) if program.name in ("cd", "pushd") and len(words) == 1 else None


def _stepped(place: str, target: str, own_folder: str) -> str:
    if (own := _OWN_FOLDER.match(target)) is not None:
        return _joined(own_folder or place, target[own.end() :].lstrip('/"')) if own_folder else place
    if (root := _CHECKOUT.match(target)) is not None:
        rest = target[root.end() :].lstrip("/")
        return "" if not rest else _joined("", rest)
    return _joined(place, target)


def _operations(programs: tuple[Program, ...], signals: frozenset[str], places: tuple[str, ...]) -> Iterator[Operation]:
    exports: dict[str, str] = {}
    for index, program in enumerate(programs):
        _note_exports(program, exports)
        place = places[index]
        tool = _tool(program.words[0].text)
        if tool is None:
            continue
        operation = _operation(tool, program, {**exports, **dict(program.command.assignments)}, place, signals)
        if operation is not None:
            if program.name in _HELPERS:
                operation = _as_helper(operation, operation.exports)
            yield _in_context(operation, program, programs, index)


def _joined(place: str, step: str) -> str:
    import posixpath

    joined = step if step.startswith("/") else posixpath.normpath(posixpath.join(place, step))
    return "" if joined == "." else joined


def _note_exports(program: Program, exports: dict[str, str]) -> None:
    if program.name in ("export", "declare", "typeset"):
        for word in program.words[1:]:
            name, equals, value = word.text.partition("=")
            if equals and re.fullmatch(r"[A-Za-z_]\w*", name):
                exports[name] = value


def _operation(
    tool: Tool, program: Program, exports: Mapping[str, str], place: str, signals: frozenset[str]
) -> Operation | None:
    flags, arguments = _arguments(tool, program)
    if not arguments:
        return None
    verb, place_of_verb, rest = _verb(tool, arguments)
    inherited = _inherited(exports, verb, program)
    chdir = next((flag.value for flag in flags if flag.name in ("chdir", "terragrunt-working-dir") and flag.value), "")
    if tool is Tool.INTERLOCK and rest and verb in ("plan", "apply", "destroy", "drift"):
        chdir = rest[0].text
    return Operation(
        tool=tool,
        verb=verb,
        span=program.span,
        flags=(*inherited, *flags),
        arguments=tuple(rest),
        directory=_joined(place, chdir) if chdir else place,
        exports=exports,
        replaces_shell=program.replaces_shell and not program.command.nested,
        signals=signals,
        ignored=program.command.ignored,
        verb_span=place_of_verb,
    )


def _verb(tool: Tool, arguments: list[Argument]) -> tuple[str, Span, list[Argument]]:
    """Return the verb, the place of its last word, and the arguments behind it."""
    words = [argument.text for argument in arguments]
    if tool is Tool.TERRAGRUNT and words[0] in ("run-all", "run") and len(words) > 1:
        return words[1], arguments[1].span, arguments[2:]
    if words[0] in _GROUPS and len(words) > 1:
        return f"{words[0]} {words[1]}", arguments[1].span, arguments[2:]
    return words[0], arguments[0].span, arguments[1:]


def _inherited(exports: Mapping[str, str], verb: str, program: Program) -> tuple[Flag, ...]:
    """Return the flags that TF_CLI_ARGS and TF_CLI_ARGS_<verb> of this script add."""
    return flags_of_environment(exports, verb, program.span)


def flags_of_environment(environment: Mapping[str, str], verb: str, span: Span) -> tuple[Flag, ...]:
    """Return the flags that TF_CLI_ARGS and TF_CLI_ARGS_<verb> add to a command, all placed at `span`."""
    found: list[Flag] = []
    for name in ("TF_CLI_ARGS", f"TF_CLI_ARGS_{verb.replace(' ', '_')}"):
        for word in (environment.get(name) or "").split():
            flag, _, value = word.lstrip("-").partition("=")
            if word.startswith("-") and flag:
                found.append(Flag(name=flag, value=value or None, span=span))
    return tuple(found)


def _arguments(tool: Tool, program: Program) -> tuple[list[Flag], list[Argument]]:
    """Split the words behind the program into flags and positional arguments."""
    flags: list[Flag] = []
    arguments: list[Argument] = []
    words = list(program.words[1:])
    passed_on = False
    verb = next((word.text for word in words if not word.text.startswith("-")), "")
    while words:
        word = words.pop(0)
        if word.text == "--":
            passed_on = tool is Tool.INTERLOCK
            continue
        if not word.text.startswith("-") or word.text == "-":
            if not passed_on:
                arguments.append(Argument(text=word.text, span=program.locate(word.start, word.end)))
            continue
        name, equals, value = word.text.lstrip("-").partition("=")
        ours = tool is Tool.INTERLOCK and not passed_on
        takes_value = not is_switch(verb, name) if ours else _takes_value(tool, name)
        end = word.end
        given: str | None = value if equals else None
        if not equals and takes_value and words and not words[0].text.startswith("-"):
            taken = words.pop(0)
            given, end = taken.text, taken.end
        flags.append(Flag(name=name, value=given, span=program.locate(word.start, end)))
    return flags, arguments


def _takes_value(tool: Tool, name: str) -> bool:
    if tool is Tool.TERRAGRUNT and (name.startswith("terragrunt-") or name in ("all", "non-interactive")):
        return name.endswith(("-dir", "-config", "-parallelism", "-log-level", "-iam-role", "-source"))
    return name not in _BOOLEAN and name not in ("help", "version")


def _in_context(operation: Operation, program: Program, programs: tuple[Program, ...], index: int) -> Operation:
    """Add what stands around a command: loops, `|| again`, something that types yes."""
    retry: Retry | None = None
    loop = program.command.loop
    if loop is not None and _repeats(loop, program, programs):
        retry = Retry(span=program.locate(loop.start, loop.start + len(loop.keyword)), waits=loop.waits)
    elif program.command.after == "||" and index and programs[index - 1].text == program.text:
        retry = Retry(span=program.span, waits=False)
    answered = program.command.after == "|" and index > 0 and _says_yes(programs[index - 1])
    return replace(operation, retry=retry, answered=answered)


def _repeats(loop: Loop, program: Program, programs: tuple[Program, ...]) -> bool:
    """Say whether a loop is there to try again: it ends on success. A loop over modules is not."""
    if loop.keyword == "until":
        return True
    if loop.keyword == "while" and program.command.before != "|":
        inside = [other for other in programs if other.command.loop is loop]
        return any(other.name in ("break", "exit", "return") for other in inside) or inside[:1] == [program]
    behind = [
        other for other in programs if other.command.loop is loop and other.words[0].start > program.words[0].start
    ]
    return program.command.before == "&&" and any(other.name in ("break", "exit", "return") for other in behind[:2])


def _says_yes(program: Program) -> bool:
    return program.name == "yes" or (program.name in ("echo", "printf") and "yes" in program.text.lower())


def _calls(programs: Iterable[Program]) -> Iterator[Call]:
    for program in programs:
        name, words = program.words[0].text, program.words
        if program.name in ("make", "gmake"):
            yield from _make_calls(program)
        elif program.name in ("bash", "sh", "source", ".", "zsh", "dash") and len(words) > 1:
            script = next((word for word in words[1:] if not word.text.startswith(("-", "+"))), None)
            if script is not None and not script.text.startswith("$"):
                stays = program.replaces_shell or program.name in ("source", ".")
                given = tuple(word.text for word in words if word.start > script.start)
                yield Call(kind="script", name=script.text, span=program.span, replaces_shell=stays, arguments=given)
        elif "/" in name and not name.startswith(("/", "$", "~")):
            given = tuple(word.text for word in words[1:])
            replaces = program.replaces_shell
            yield Call(kind="script", name=name, span=program.span, replaces_shell=replaces, arguments=given)


def _make_calls(program: Program) -> Iterator[Call]:
    folder, file, targets = "", "", []
    words = [word.text for word in program.words[1:]]
    while words:
        word = words.pop(0)
        if word in ("-C", "-f", "--directory", "--file") and words:
            value = words.pop(0)
            folder, file = (value, file) if word in ("-C", "--directory") else (folder, value)
        elif not word.startswith("-") and "=" not in word:
            targets.append(word)
    for target in targets or [""]:
        yield Call(kind="make", name=target, span=program.span, folder=folder, file=file)
