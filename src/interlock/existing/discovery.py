"""Finds where a root module's state is: its backend with every setting, and where each setting came from.

The same order as Terraform's: a value given with `-backend-config` beats the block's, which beats what an earlier
`terraform init` recorded, which beats the environment, which beats the default. What an earlier `init` recorded counts
only when this run gives no `-backend-config` of its own, for then Terraform uses it too (partial configuration).

Reads files through a `Tree`; the environment is given. Never raises for what a file says: it is a doubt.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from interlock.existing.interface import Found, Origin
from interlock.existing.vocabulary import UNKNOWN, VOCABULARIES, Vocabulary, is_credential
from interlock.hcl import (
    Backend,
    Body,
    Module,
    ObjectValue,
    Scope,
    constant,
    constant_text,
    parse,
    parse_json,
    read_folder,
    read_module,
    unknown_settings,
)
from interlock.hcl.body import body_of
from interlock.hcl.given import given_scope
from interlock.source.tree import SourceUnreadable, Tool, Tree, join

MAX_BACKEND_CONFIGS = 100
"""`-backend-config` flags read; nobody types this many."""

STATE_WORDS = re.compile(rb"\b(?:backend|cloud|state_store)\b|\\u")
"""What a file holds that may say where the state is; a JSON name may be written with escapes."""

_FLAG = "backend-config"
_ARGUMENTS = ("TF_CLI_ARGS_init", "TF_CLI_ARGS")  # in the order in which Terraform puts them before typed flags
_CACHE = "terraform.tfstate"
_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class _Given:
    """One setting: its value and where it came from."""

    value: object
    source: str


@dataclass(slots=True)
class _Reading:
    """Settings as they are gathered; the first to name a setting wins."""

    settings: dict[str, _Given] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    before: Found | None = None

    def add(self, name: str, value: object, source: str) -> None:
        if value is not None and name not in self.settings:
            self.settings[name] = _Given(value, source)


def find(
    tree: Tree,
    directory: str,
    environ: Mapping[str, str],
    extra: Sequence[str] = (),
    tool: Tool = Tool.TOFU,
) -> Found:
    """Return the backend of a root module.

    Args:
        tree: Where files are.
        directory: The root module.
        environ: The environment in which Terraform would run.
        extra: The user's flags for Terraform.
        tool: The program that would run; the two do not read the same files.
    """
    data_dir = join(directory, environ.get("TF_DATA_DIR") or ".terraform")
    module = read_folder(tree, directory, tool)
    backend = module.backend
    kind = backend.type if backend else "local"
    words = VOCABULARIES.get(kind, UNKNOWN)
    reading = _Reading(unsure=list(_uncertain(module)))
    flags = (*environment_configs(environ), *backend_configs(extra))
    for flag in reversed(flags):  # the last one wins, and the first to name a setting wins here
        _read_flag(tree, directory, flag, words, reading)
    if backend is not None:
        _read_block(backend, words, reading, scope=_scope(tree, directory, backend, environ, extra, tool))
    _read_cache(tree, data_dir, kind, words, reading, counts=not flags)
    _check_ours(kind, words, reading)
    _read_environment(words, environ, reading, tool)
    for name, default in words.defaults.items():
        reading.add(name, default, _DEFAULT)
    workspace, source = _workspace(tree, data_dir, environ)
    return Found(
        type=kind,
        settings={name: given.value for name, given in reading.settings.items()},
        origins=tuple(_origins(reading)),
        workspace=workspace,
        workspace_source=source,
        is_empty_http=kind == "http" and backend is not None and not backend.body.attributes and not flags,
        is_declared=backend is not None,
        has_flags=bool(flags),
        before=reading.before,
        unsure=tuple(reading.unsure),
        missing=tuple(name for name in words.required if name not in reading.settings),
        doubts=tuple(reading.doubts),
    )


def _check_ours(kind: str, words: Vocabulary, reading: _Reading) -> None:
    """Let nobody but the environment give a setting of ours: a change under review could lead credentials away by it.

    Terraform would refuse it, but a run that goes by an address of its own never shows Terraform the block.
    """
    for name in words.ours & reading.settings.keys():
        reading.unsure.append(f'{reading.settings[name].source}: {name} is not a setting of backend "{kind}"')


def _uncertain(module: Module) -> Iterator[str]:
    """Yield why something about the state may stand where this reader could not read it."""
    contents = {file.path: file.content for file in module.files}
    for problem in module.problems:
        if STATE_WORDS.search(contents.get(problem.span.path, b"backend")):
            yield f"{problem.span.path}:{problem.span.line}: {problem.message}"
    if len(module.backends) > 1:  # Terraform refuses it, but not where an override file hides all of them
        span = module.backends[-1].block.header
        yield f"{span.path}:{span.line}: a second declaration of where the state is"
    for span in unknown_settings(module):
        yield f"{span.path}:{span.line}: a setting of Terraform that Interlock does not know"


def from_environment(kind: str, environ: Mapping[str, str]) -> dict[str, object]:
    """Return the settings of a backend type that the environment alone gives."""
    reading = _Reading()
    _read_environment(VOCABULARIES.get(kind, UNKNOWN), environ, reading)
    return {name: given.value for name, given in reading.settings.items()}


def find_read(
    kind: str, data: Body, environ: Mapping[str, str], scope: Scope, *, workspace: str | None = None
) -> Found | None:
    """Return the state that a `terraform_remote_state` reads; None when its settings are not written as an object.

    Args:
        kind: Its `backend`.
        data: The block's body.
        environ: The environment in which Terraform would run.
        scope: What names mean there.
        workspace: The workspace where the block names it in words that only a run knows; None to read it there.
    """
    words, reading = VOCABULARIES.get(kind, UNKNOWN), _Reading()
    config = data.get("config")
    if isinstance(config, ObjectValue):
        _read_body(body_of(config), words, reading, "", scope=scope)
    elif (known := constant(config, scope)) is not None and isinstance(known.value, Mapping):
        for name, value in known.value.items():
            _add(words, reading, name, value, "config")
    elif config is not None:
        return None
    _read_environment(words, environ, reading)
    for name, default in words.defaults.items():
        reading.add(name, default, _DEFAULT)
    named = data.get("workspace")
    space = workspace or (constant_text(named, scope) if named is not None else _DEFAULT)
    settings = {name: given.value for name, given in reading.settings.items()}
    return None if space is None else Found(type=kind, settings=settings, workspace=space)


def _origins(reading: _Reading) -> Iterator[Origin]:
    for name, given in sorted(reading.settings.items()):
        plain = str(given.value).lower() if isinstance(given.value, bool) else str(given.value)
        shown = "(set)" if is_credential(name, plain) else plain
        yield Origin(name=name, value=shown, source=given.source)


# -- flags ------------------------------------------------------------------------------------------------------------


def backend_configs(extra: Sequence[str]) -> Iterator[str]:
    """Yield the values of `-backend-config` in order, written with `=` or as the next word."""
    words = iter(extra)
    for _, word in zip(range(MAX_BACKEND_CONFIGS), words, strict=False):
        name, equals, value = word.lstrip("-").partition("=")
        if word.startswith("-") and name == _FLAG:
            found = value if equals else next(words, "")
            if found:
                yield found


def environment_configs(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the values of `-backend-config` that the environment adds to `terraform init`, in order."""
    for name in _ARGUMENTS:
        try:
            words = shlex.split(environ.get(name, ""))
        except ValueError:  # Terraform refuses it
            continue
        yield from backend_configs(words)


def _read_flag(tree: Tree, directory: str, flag: str, words: Vocabulary, reading: _Reading) -> None:
    """Read `name=value`, or a file of settings; as in Terraform, what has an equals sign is not a file."""
    name, equals, text = flag.partition("=")
    if equals:
        _add(words, reading, name.strip(), _typed(text), f"-backend-config={name.strip()}=…")
        return
    try:
        content = tree.read(flag if flag.startswith("/") else join(directory, flag))
    except SourceUnreadable as error:
        content = None
        reading.doubts.append(f"{flag}: {error.why}")
    if content is None:
        reading.doubts.append(f"-backend-config={flag}: there is no such file")
        return
    file = parse_json(flag, content) if flag.endswith(".json") else parse(flag, content)
    _read_body(file.body, words, reading, f"-backend-config={flag}", scope=Scope())


def _typed(text: str) -> object:
    """Return a value from a command line: an object or a list when it is written as one, else text."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    file = parse("-backend-config", f"value = {text}\n".encode())
    known = constant(file.body.get("value"))
    return text if known is None else known.value


# -- the block --------------------------------------------------------------------------------------------------------


def _scope(
    tree: Tree, directory: str, backend: Backend, environ: Mapping[str, str], extra: Sequence[str], tool: Tool
) -> Scope:
    """Return what names mean in the block: OpenTofu evaluates variables and locals here; most blocks have none."""
    if all(constant(attribute.value) is not None for attribute in backend.body.attributes.values()):
        return Scope()
    return given_scope(read_module(tree, directory, tool), tree, extra, environ, verb="init")


def _read_block(backend: Backend, words: Vocabulary, reading: _Reading, *, scope: Scope) -> None:
    _read_body(backend.body, words, reading, "", scope=scope)


def _read_body(body: Body, words: Vocabulary, reading: _Reading, source: str, *, scope: Scope) -> None:
    for name, attribute in body.attributes.items():
        where = source or f"{attribute.span.path.rpartition('/')[2]}:{attribute.span.line}"
        known = constant(attribute.value, scope)
        if known is None:
            reading.doubts.append(f"{where}: {name} is not a constant")
        else:
            _add(words, reading, name, known.value, where)
    for block in body.nested:
        for name, attribute in block.body.attributes.items():
            known = constant(attribute.value, scope)
            where = source or f"{attribute.span.path.rpartition('/')[2]}:{attribute.span.line}"
            if known is not None:
                _add(words, reading, f"{block.type}.{name}", known.value, where)


def _add(words: Vocabulary, reading: _Reading, name: str, value: object, source: str) -> None:
    """Add a setting; an object is spread to one setting a key."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            reading.add(f"{name}.{key}", part, source)
    elif value != "":  # Terraform takes an empty text for an absent one here
        reading.add(words.renamed.get(name, name), value, source)


# -- what `terraform init` recorded -----------------------------------------------------------------------------------


def _read_cache(tree: Tree, data_dir: str, kind: str, words: Vocabulary, reading: _Reading, *, counts: bool) -> None:
    path = join(data_dir, _CACHE)
    recorded = _recorded(tree, path, reading)
    if recorded is None:
        return
    was, config = recorded
    if was != kind:
        reading.doubts.append(f'{path}: an earlier init recorded backend "{was}", the configuration says "{kind}"')
        reading.before = Found(type=was, settings={name: value for name, value in config.items() if value is not None})
        return
    for name, value in config.items():
        now = reading.settings.get(words.renamed.get(name, name))
        if now is not None and not isinstance(value, dict | list) and value not in (None, "") and now.value != value:
            is_secret = is_credential(name, str(value)) or is_credential(name, str(now.value))
            shown = "" if is_secret else f": {value!s} then, {now.value!s} now"
            reading.doubts.append(f"{name} changed since init{shown}; run init -reconfigure")
        elif counts and value not in (None, "", [], {}):
            _add(words, reading, name, value, f"{path} (recorded by init)")


def _recorded(tree: Tree, path: str, reading: _Reading) -> tuple[str, Mapping[str, object]] | None:
    try:
        content = tree.read(path)
    except SourceUnreadable as error:
        reading.unsure.append(f"{path}: {error.why}")
        return None
    try:
        document = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        reading.unsure.append(f"{path} is not JSON")
        return None
    return _recorded_backend(document) if isinstance(document, dict) else None


def _recorded_backend(document: Mapping[str, object]) -> tuple[str, Mapping[str, object]] | None:
    if isinstance(document.get("state_store"), dict):
        return "state_store", {}
    backend = document.get("backend")
    if not isinstance(backend, dict):
        return None
    config = backend.get("config")
    return str(backend.get("type", "")), config if isinstance(config, dict) else {}


# -- environment ------------------------------------------------------------------------------------------------------


def _read_environment(words: Vocabulary, environ: Mapping[str, str], reading: _Reading, tool: Tool = Tool.TOFU) -> None:
    for name, variables in words.environment.items():
        for variable in variables:
            if environ.get(variable) and (tool is Tool.TOFU or name not in words.tofus):
                reading.add(name, environ[variable], variable)
                break


def _workspace(tree: Tree, data_dir: str, environ: Mapping[str, str]) -> tuple[str, str]:
    if environ.get("TF_WORKSPACE"):
        return environ["TF_WORKSPACE"], "TF_WORKSPACE"
    path = join(data_dir, "environment")
    try:
        chosen = (tree.read(path) or b"").decode(errors="replace").strip()
    except SourceUnreadable:
        chosen = ""
    return (chosen, path) if chosen else ("default", _DEFAULT)
