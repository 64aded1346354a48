"""A folder of configuration -> what it declares: resources, variables, providers, its backend, the modules it calls.

Knows: Terraform's block types, files of one folder, override files. Knows nothing of any provider's resources.
Nothing here raises for what a file says; it is a `Problem` of the module.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import ClassVar

from msgspec import Struct, field, structs

from interlock.address import Address
from interlock.hcl.body import Attribute, Block, Body, File, Problem
from interlock.hcl.constant import Known, Scope, constant
from interlock.hcl.expression import Expression, ListValue, Literal, ObjectValue, Template, Traversal
from interlock.hcl.json_syntax import parse_json
from interlock.hcl.merge import merge, top_blocks
from interlock.hcl.syntax import parse, parse_template
from interlock.secrecy import PartlyShown
from interlock.source.encoding import encoding_of
from interlock.source.tree import (
    SUFFIXES,
    SourceUnreadable,
    Span,
    Tool,
    Tree,
    configuration_files,
    is_configuration,
    join,
)

MAX_CALL_DEPTH = 20  # modules that call modules; Terraform has no limit, people stay below 6

_LOCK_FILE = ".terraform.lock.hcl"
_SETTINGS_ARGUMENTS = frozenset({"required_version", "experiments", "language"})
_SETTINGS_BLOCKS = frozenset({"required_providers", "provider_meta", "backend", "cloud", "state_store", "encryption"})
_LINE_START = 1


class Resource(Struct, frozen=True, kw_only=True):
    """A `resource`, `data` or `ephemeral` block.

    Attributes:
        mode: `managed`, `data` or `ephemeral`.
        type: Such as `genesyscloud_routing_queue`.
        name: The name in the configuration.
        block: The block, override files applied.
        depends_on: What it names there.
        provider: The provider configuration that it names, such as `genesyscloud.eu`; empty for the default one.
    """

    mode: str
    type: str
    name: str
    block: Block
    depends_on: tuple[Traversal, ...] = ()
    provider: str = ""

    @property
    def body(self) -> Body:
        """The block's body."""
        return self.block.body

    @property
    def key(self) -> str:
        """How other blocks of the module name it: `type.name`, `data.type.name`."""
        prefix = "" if self.mode == "managed" else f"{self.mode}."
        return f"{prefix}{self.type}.{self.name}"

    @property
    def address(self) -> Address:
        """Its address in its own module."""
        return Address(mode=self.mode, type=self.type, name=self.name)


class Variable(Struct, frozen=True, kw_only=True):
    """An input variable. `default` is None when a value must be given."""

    name: str
    default: Expression | None
    block: Block


class Output(Struct, frozen=True, kw_only=True):
    """An output value."""

    name: str
    value: Expression | None
    block: Block
    depends_on: tuple[Traversal, ...] = ()


class Provider(Struct, frozen=True, kw_only=True):
    """A provider configuration. `name` is the local name, `alias` is empty for the default configuration."""

    name: str
    alias: str
    block: Block

    @property
    def key(self) -> str:
        """How resources name it: `genesyscloud` or `genesyscloud.eu`."""
        return f"{self.name}.{self.alias}" if self.alias else self.name


class Requirement(Struct, frozen=True, kw_only=True):
    """One entry of `required_providers`. `source` and `version` are None when they are not set."""

    name: str
    source: Expression | None
    version: Expression | None
    span: Span
    name_span: Span


class Backend(Struct, frozen=True, kw_only=True):
    """Where the state of a root module is: a `backend` block, a `cloud` block or a `state_store` block.

    `type` is the backend's label, else the block's own type.
    """

    type: str
    block: Block

    @property
    def body(self) -> Body:
        """The block's body."""
        return self.block.body


class ModuleCall(Struct, frozen=True, kw_only=True):
    """A `module` block. `module` is the called folder when its source is local and could be read."""

    name: str
    source: Expression | None
    block: Block
    module: Module | None = None
    depends_on: tuple[Traversal, ...] = ()


class Module(PartlyShown, frozen=True, kw_only=True, dict=True):
    """One folder of configuration.

    Attributes:
        path: The folder.
        files: Its files, broken ones included, in the order in which Terraform reads them.
        problems: What keeps it from meaning what it should, in its files and between them.
        tfvars: Values of `terraform.tfvars` and `*.auto.tfvars`, the later file winning.
        given: Of a called module: the variables that its callers set. Known where all callers of the reading set the
            same certain value, None where that is not so. A root has none.
        locked: Provider versions in `.terraform.lock.hcl`, by full source address.
        names: The names of all files in the folder.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"files"})

    path: str
    files: tuple[File, ...]
    problems: tuple[Problem, ...] = ()
    settings: tuple[Block, ...] = ()
    resources: tuple[Resource, ...] = ()
    variables: Mapping[str, Variable] = field(default_factory=dict)
    locals: Mapping[str, Attribute] = field(default_factory=dict)
    outputs: Mapping[str, Output] = field(default_factory=dict)
    providers: tuple[Provider, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    backends: tuple[Backend, ...] = ()
    calls: tuple[ModuleCall, ...] = ()
    tfvars: Mapping[str, Expression] = field(default_factory=dict)
    given: Mapping[str, Known | None] = field(default_factory=dict)
    locked: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    @property
    def backend(self) -> Backend | None:
        """The backend or cloud block that counts, or None."""
        return self.backends[-1] if self.backends else None

    @property
    def is_whole(self) -> bool:
        """Whether everything could be read, so that what is absent here is really absent."""
        return not self.problems

    @cached_property
    def scope(self) -> Scope:
        """What is certain in this module: locals, variable defaults, and what tfvars or all callers set."""
        values = {name: constant(variable.default) for name, variable in self.variables.items()}
        values.update({name: constant(value) for name, value in self.tfvars.items()})
        values.update(self.given)
        return self.scope_with({name: known for name, known in values.items() if known is not None})

    def scope_with(self, variables: Mapping[str, Known]) -> Scope:
        """Return the scope of this module when it is called with these certain arguments."""
        return Scope(locals={name: item.value for name, item in self.locals.items()}, variables=variables)

    def walk(self) -> Iterator[Module]:
        """Yield this module and the local modules below it, each folder once."""
        seen: set[str] = set()
        pending = [self]
        while pending:
            module = pending.pop()
            if module.path not in seen:
                seen.add(module.path)
                yield module
                pending.extend(call.module for call in reversed(module.calls) if call.module is not None)

    def of_type(self, kind: str, *, mode: str = "managed") -> Iterator[Resource]:
        """Yield the module's own resources of one type."""
        return (resource for resource in self.resources if resource.type == kind and resource.mode == mode)


def read_modules(tree: Tree, folders: tuple[str, ...]) -> tuple[Module, ...]:
    """Read folders of configuration and the local modules that they call.

    Returns:
        The roots in the order given: folders that no other one of them calls. Where folders only call each other in
        a circle, the first of them counts as a root, so that nothing is left out.
    """
    wanted = [join(folder) for folder in folders]
    library = _Library(tree, wanted)
    roots = [library.module(folder, ()) for folder in dict.fromkeys(wanted) if not library.is_called(folder)]
    roots.extend(library.module(folder, ()) for folder in wanted if not library.is_known(folder))
    return tuple(roots)


def read_module(tree: Tree, folder: str, tool: Tool = Tool.TOFU) -> Module:
    """Read one folder and the local modules that it calls, as a program would."""
    return _Library(tree, [join(folder)], tool).module(join(folder), ())


def read_folder(tree: Tree, folder: str, tool: Tool = Tool.TOFU) -> Module:
    """Read one folder alone, as a program would: none of its calls is followed."""
    return _folder(tree, join(folder), tool)


def find_backend(tree: Tree, folder: str, tool: Tool = Tool.TOFU) -> Backend | None:
    """Return what a root module declares about where its state is, or None when it declares nothing."""
    return read_folder(tree, folder, tool).backend


def unknown_settings(module: Module) -> tuple[Span, ...]:
    """Return where a module's `terraform` blocks say what this reader does not know; it may be about the state."""
    return tuple(
        span
        for block in module.settings
        for span in (
            *(item.name_span for name, item in block.body.attributes.items() if name not in _known(block.body)),
            *(nested.header for nested in block.body.nested if nested.type not in _SETTINGS_BLOCKS),
        )
    )


def _known(body: Body) -> frozenset[str]:
    return _SETTINGS_ARGUMENTS | _SETTINGS_BLOCKS if body.is_json else _SETTINGS_ARGUMENTS


class _Library:
    """The folders that some folders call, and these themselves; each is read once.

    All are read before any module is put together, so that a module knows what every one of its callers gives it.
    """

    def __init__(self, tree: Tree, folders: list[str], tool: Tool = Tool.TOFU) -> None:
        self._flat: dict[str, Module] = {}
        self._callers: dict[str, list[tuple[Module, ModuleCall]]] = {}
        self._modules: dict[str, Module] = {}
        pending = list(reversed(folders))
        while pending:
            folder = pending.pop()
            if folder not in self._flat:
                self._flat[folder] = _folder(tree, folder, tool)
                pending.extend(self._note_calls(tree, self._flat[folder]))

    def _note_calls(self, tree: Tree, module: Module) -> Iterator[str]:
        """Note the local modules that a module calls, and yield their folders; one without files is left out."""
        for call in module.calls:
            target = _local_target(module.path, call)
            if target is not None and any(is_configuration(name) for name in tree.files(target)):
                self._callers.setdefault(target, []).append((module, call))
                yield target

    def is_called(self, folder: str) -> bool:
        """Say whether another folder calls this one."""
        return any(caller.path != folder for caller, _ in self._callers.get(folder, ()))

    def is_known(self, folder: str) -> bool:
        """Say whether a folder was put together already, as a root or below one."""
        return folder in self._modules

    def module(self, folder: str, above: tuple[str, ...]) -> Module:
        """Return a folder as a module, with the modules that it calls."""
        if folder not in self._modules:
            flat = self._flat[folder]
            problems = list(flat.problems)
            calls = tuple(self._followed(call, folder, (*above, folder), problems) for call in flat.calls)
            self._modules[folder] = structs.replace(
                flat, calls=calls, problems=tuple(problems), given=self._given(folder) if above else {}
            )
        return self._modules[folder]

    def _followed(self, call: ModuleCall, folder: str, above: tuple[str, ...], problems: list[Problem]) -> ModuleCall:
        target = _local_target(folder, call)
        if target not in self._callers:
            return call
        if target in above or len(above) > MAX_CALL_DEPTH:
            why = "calls itself" if target in above else f"is more than {MAX_CALL_DEPTH} modules deep"
            problems.append(Problem(span=call.block.header, message=f'module "{call.name}" {why}'))
            return call
        return structs.replace(call, module=self.module(target, above))

    def _given(self, folder: str) -> dict[str, Known | None]:
        """Return what the callers of a folder set its variables to; a caller's own variables are not certain here."""
        values: dict[str, list[Known | None]] = {}
        callers = self._callers.get(folder, ())
        for caller, call in callers:
            for name, attribute in call.block.body.attributes.items():
                values.setdefault(name, []).append(constant(attribute.value, caller.scope_with({})))
        return {
            name: found[0] if len(found) == len(callers) and all(item == found[0] for item in found) else None
            for name, found in values.items()
            if name in self._flat[folder].variables
        }


def _local_target(folder: str, call: ModuleCall) -> str | None:
    source = call.source.value if isinstance(call.source, Literal) else None
    is_local = isinstance(source, str) and source.startswith(("./", "../"))
    return join(folder, source) if is_local and isinstance(source, str) else None


# --- one folder


def _folder(tree: Tree, folder: str, tool: Tool) -> Module:
    names = tree.files(folder)
    files: list[File] = []
    problems: list[Problem] = []
    for name in _in_order(names, tool):
        read = _read(tree, join(folder, name))
        if isinstance(read, Problem):
            problems.append(read)
        else:
            files.append(read)
            problems.extend(read.problems)
    tfvars = _tfvars(tree, folder, names, problems)
    module = _module(folder, files, problems)
    return structs.replace(module, tfvars=tfvars, locked=_locked(tree, folder, names), names=names)


def _in_order(names: tuple[str, ...], tool: Tool) -> list[str]:
    """Return the configuration files in reading order: by name, overrides last."""
    return sorted(configuration_files(names, tool), key=lambda name: (is_override(name), name))


def is_override(name: str) -> bool:
    """Say whether a configuration file of this name is an override file."""
    stem = next(name.removesuffix(suffix) for suffix in reversed(SUFFIXES) if name.endswith(suffix))
    return stem == "override" or stem.endswith("_override")


_SAVE = "write it with an editor, or in PowerShell with Set-Content -Encoding utf8 in place of >"


def _read(tree: Tree, path: str) -> File | Problem:
    try:
        content = tree.read(path)
    except SourceUnreadable as error:
        return Problem(span=_beginning(path), message=f"the file could not be read: {error.why}")
    content = content or b""
    encoding = encoding_of(content)
    if encoding.startswith(("UTF-16", "UTF-32")):
        return Problem(
            span=_beginning(path), message=f"the file is {encoding}, and Terraform reads UTF-8 alone: {_SAVE}"
        )
    return parse_json(path, content) if path.endswith(".json") else parse(path, content)


def _beginning(path: str) -> Span:
    return Span(path=path, start=0, end=0, line=_LINE_START, column=1, end_line=_LINE_START, end_column=1)


def _tfvars(tree: Tree, folder: str, names: tuple[str, ...], problems: list[Problem]) -> dict[str, Expression]:
    """Return the variable values that Terraform loads by itself, the later file winning."""
    first = [name for name in ("terraform.tfvars", "terraform.tfvars.json") if name in names]
    rest = [name for name in names if name.endswith((".auto.tfvars", ".auto.tfvars.json"))]
    values: dict[str, Expression] = {}
    for name in (*first, *rest):
        read = _read(tree, join(folder, name))
        if isinstance(read, Problem):
            problems.append(read)
        else:
            problems.extend(read.problems)
            values.update({key: attribute.value for key, attribute in read.body.attributes.items()})
    return values


def _locked(tree: Tree, folder: str, names: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of the dependency lock file."""
    read = _read(tree, join(folder, _LOCK_FILE)) if _LOCK_FILE in names else None
    blocks = read.body.nested if isinstance(read, File) else ()
    found = {block.labels[0]: constant(block.body.get("version")) for block in blocks if len(block.labels) == 1}
    return {address: known.value for address, known in found.items() if known and isinstance(known.value, str)}


def _module(folder: str, files: list[File], problems: list[Problem]) -> Module:
    originals: list[Block] = []
    overrides: list[Block] = []
    for file in files:
        wanted = overrides if is_override(posixpath.basename(file.path)) else originals
        for found in top_blocks(file):
            if isinstance(found, Problem):
                problems.append(found)
            else:
                wanted.append(found)
    blocks, refused = merge(originals, overrides)
    by_type: dict[str, list[Block]] = {}
    for block in blocks:
        by_type.setdefault(block.type, []).append(block)
    settings = tuple(by_type.get("terraform", ()))
    return Module(
        path=folder,
        files=tuple(files),
        problems=(*problems, *refused),
        settings=settings,
        resources=tuple(_resource(block) for kind in _MODES for block in by_type.get(kind, ())),
        variables={block.labels[0]: _variable(block) for block in by_type.get("variable", ())},
        locals={name: item for block in by_type.get("locals", ()) for name, item in block.body.attributes.items()},
        outputs={block.labels[0]: _output(block) for block in by_type.get("output", ())},
        providers=tuple(_provider(block) for block in by_type.get("provider", ())),
        requirements=tuple(found for block in settings for found in _requirements(block)),
        backends=tuple(found for block in settings for found in _backends(block)),
        calls=tuple(_call(block) for block in by_type.get("module", ())),
    )


_MODES = {"resource": "managed", "data": "data", "ephemeral": "ephemeral"}


def _resource(block: Block) -> Resource:
    return Resource(
        mode=_MODES[block.type],
        type=block.labels[0],
        name=block.labels[1],
        block=block,
        depends_on=_named(block.body.get("depends_on")),
        provider=".".join(name for item in _named(block.body.get("provider")) for name in item.names()),
    )


def _variable(block: Block) -> Variable:
    return Variable(name=block.labels[0], default=block.body.get("default"), block=block)


def _output(block: Block) -> Output:
    body = block.body
    return Output(name=block.labels[0], value=body.get("value"), block=block, depends_on=_named(body.get("depends_on")))


def _provider(block: Block) -> Provider:
    alias = block.body.get("alias")
    text = alias.value if isinstance(alias, Literal) else None
    return Provider(name=block.labels[0], alias=text if isinstance(text, str) else "", block=block)


def _call(block: Block) -> ModuleCall:
    body = block.body
    return ModuleCall(
        name=block.labels[0], source=body.get("source"), block=block, depends_on=_named(body.get("depends_on"))
    )


def _requirements(settings: Block) -> Iterator[Requirement]:
    for block in settings.body.blocks("required_providers"):
        for attribute in block.body.attributes.values():
            value = attribute.value
            is_object = isinstance(value, ObjectValue)
            yield Requirement(
                name=attribute.name,
                source=value.get("source") if isinstance(value, ObjectValue) else None,
                version=value.get("version") if isinstance(value, ObjectValue) else None if is_object else value,
                span=attribute.span,
                name_span=attribute.name_span,
            )


def _backends(settings: Block) -> Iterator[Backend]:
    for block in settings.body.blocks("backend", labels=1):
        if block.labels:
            yield Backend(type=block.labels[0], block=block)
    for block in settings.body.blocks("cloud"):
        yield Backend(type="cloud", block=block)
    for block in settings.body.blocks("state_store", labels=1):
        yield Backend(type="state_store", block=block)


def _named(value: Expression | None) -> tuple[Traversal, ...]:
    """Return the names in a `depends_on` or `provider`, which JSON and old configurations write in quotes."""
    items = value.items if isinstance(value, ListValue) else () if value is None else (value,)
    return tuple(found for item in items if (found := _as_traversal(item)) is not None)


def _as_traversal(item: Expression) -> Traversal | None:
    if isinstance(item, Literal) and isinstance(item.value, str):
        read = parse_template("${" + item.value + "}", item.span)
        inner = read.parts[0] if isinstance(read, Template) and len(read.parts) == 1 else None
        return inner if isinstance(inner, Traversal) else None
    return item if isinstance(item, Traversal) else None
