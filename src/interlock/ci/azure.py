"""Azure Pipelines files -> `Workflow`: stages, jobs, deployments and templates.

Knows: workflow, document, scripts. Source: the Azure Pipelines YAML schema reference, read 2026-11. Template
expressions are followed as far as text allows: parameters are put in, `${{ if }}` and `${{ each }}` bodies are read
as if they applied.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, replace

from interlock.ci.document import (
    Mapping,
    Node,
    Scalar,
    Sequence,
    SourceText,
    entries,
    items,
    scalars,
)
from interlock.ci.documents import Documents
from interlock.ci.operations import Flag, Operation, Tool
from interlock.ci.operations import read as read_script
from interlock.ci.scripts import Scripts
from interlock.ci.workflow import (
    ANY_REF,
    MAX_JOBS,
    MAX_STEPS,
    Action,
    Artifact,
    Elsewhere,
    Image,
    Job,
    Limit,
    Step,
    Turn,
    Unread,
    Variable,
    Vendor,
    Workflow,
    variables,
)
from interlock.source.tree import Span, Tree, join

MAX_TEMPLATES = 100  # Azure's own limit of template files of a pipeline
MAX_VISITS = 50_000  # list items of a pipeline; aliases may make a small file a long list
MAX_LEVELS = 20  # of templates in templates

_PARAMETER = re.compile(r"\$\{\{\s*parameters\.([\w-]+)\s*\}\}")
_BRANCH_TEST = re.compile(
    r"eq\(\s*variables\[?'?\.?Build\.SourceBranch(?:Name)?'?\]?\s*,\s*'(?:refs/heads/)?([^']+)'\s*\)"
)
_HOOKS = ("preDeploy", "deploy", "routeTraffic", "postRouteTraffic")
_SCRIPTS = ("script", "bash", "pwsh", "powershell")
_INLINE = {"bash": "script", "cmdline": "script", "azurecli": "inlineScript", "awsshellscript": "inlineScript"}
_TERRAFORM_TASKS = re.compile(r"(?:.*\.)?(?:TerraformTask(?:V\d+)?|TerraformCLI|Terraform)\Z", re.IGNORECASE)
_PUBLISHING = frozenset({"publish", "publishpipelineartifact", "publishbuildartifacts"})
_FETCHING = re.compile(r"\b(?:az storage blob|aws s3|curl|wget|interlock ci)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """What a job inherits from the pipeline and stage around it."""

    path: str
    parameters: MappingType[str, str]
    variables: tuple[Variable, ...] = ()
    turn: Turn | None = None
    refs: frozenset[str] = frozenset({ANY_REF})
    condition: str = ""
    level: int = 0


def read(tree: Tree, path: str, *, root: str) -> Workflow:
    """Read an Azure pipeline file of the repository at `root`."""
    return _Reader(tree, root).read(path)


class _Reader:
    def __init__(self, tree: Tree, root: str) -> None:
        self._tree = tree
        self._root = root
        self._scripts = Scripts(tree, root)
        self._documents = Documents(tree)
        self._templates = 0
        self._visits = 0
        self._steps = 0
        self._jobs = 0
        self._standalone = True
        self._unread: list[Unread] = []

    def read(self, path: str) -> Workflow:
        document = self._documents.find(path)
        jobs: tuple[Job, ...] = ()
        events: frozenset[str] = frozenset()
        if document is not None:
            # A file with parameters and no trigger of its own is a template: others decide about turns and limits.
            self._standalone = document.get("trigger") is not None or document.get("parameters") is None
            events = frozenset(_events(document))
            scope = _Scope(path=path, parameters=_defaults(document), refs=frozenset(_refs(document)))
            jobs = tuple(self._root_jobs(document, scope))[:MAX_JOBS]
        return Workflow(
            vendor=Vendor.AZURE,
            path=path,
            span=SourceText(path, "").span(0, 0),
            events=events,
            jobs=jobs,
            unread=tuple(dict.fromkeys(self._unread)),
            problems=self._documents.problems,
        )

    def _root_jobs(self, document: Mapping, scope: _Scope) -> Iterator[Job]:
        scope = replace(
            scope,
            variables=(*scope.variables, *_azure_variables(document.get("variables"))),
            turn=_turn(document) or scope.turn,
        )
        extended = document.get("extends")
        if isinstance(extended, Mapping):
            yield from self._template(extended, scope, self._root_jobs)
        for stage in self._expanded(document.get("stages")):
            yield from self._stage(stage, scope)
        for job in self._expanded(document.get("jobs")):
            yield from self._job(job, scope)
        steps = document.entry("steps")
        if steps is not None:
            yield self._built("pipeline", steps.key.span, document, tuple(self._steps_of(steps.value, scope)), scope)

    def _expanded(self, node: Node | None) -> Iterator[Mapping]:
        """Yield a list's mappings; those under `${{ if }}` keys as if they applied."""
        for item in items(node):
            self._visits += 1
            if not isinstance(item, Mapping) or self._visits > MAX_VISITS:
                continue
            conditional = [entry for entry in item.entries if entry.key.text.startswith("${{")]
            if len(conditional) < len(item.entries):
                yield item  # some of its keys may be conditional, the item itself is not
                continue
            for entry in conditional:
                yield from self._expanded(entry.value if isinstance(entry.value, Sequence) else None)

    def _stage(self, body: Mapping, scope: _Scope) -> Iterator[Job]:
        if body.get("template") is not None:
            yield from self._template(body, scope, self._root_jobs)
            return
        scope = replace(
            scope,
            variables=(*scope.variables, *_azure_variables(body.get("variables"))),
            turn=_turn(body) or scope.turn,
            refs=_narrowed(scope.refs, body.text("condition")),
        )
        for job in self._expanded(body.get("jobs")):
            yield from self._job(job, scope)

    def _job(self, body: Mapping, scope: _Scope) -> Iterator[Job]:
        if body.get("template") is not None:
            yield from self._template(body, scope, self._root_jobs)
            return
        entry = body.entry("deployment") or body.entry("job")
        if entry is None or self._jobs >= MAX_JOBS:
            return
        self._jobs += 1
        name = entry.value.text if isinstance(entry.value, Scalar) else ""
        span = entry.value.span if isinstance(entry.value, Scalar) and name else entry.key.span
        scope = replace(
            scope,
            variables=(*scope.variables, *_azure_variables(body.get("variables"))),
            refs=_narrowed(scope.refs, body.text("condition")),
        )
        steps = tuple(self._steps_of(body.get("steps"), scope)) + tuple(self._strategy(body.get("strategy"), scope))
        yield self._built(name, span, body, steps, scope)

    def _built(self, name: str, span: Span, body: Mapping, steps: tuple[Step, ...], scope: _Scope) -> Job:
        deployment = body.entry("deployment") is not None
        return Job(
            name=name,
            span=span,
            steps=steps,
            variables=scope.variables,
            turns=(scope.turn,) if scope.turn is not None else (),
            environment=_environment(body.get("environment")),
            limit=_limit(body.get("timeoutInMinutes")),
            condition=body.text("condition"),
            refs=scope.refs,
            needs=tuple(need.text for need in scalars(body.get("dependsOn"))),
            artifacts=tuple(_artifacts(steps)),
            # Deployment jobs download the pipeline's artifacts by themselves.
            receives=deployment or any(_downloads(step) for step in steps),
            image=_image(body.get("container")),
            standalone=self._standalone,
        )

    def _strategy(self, node: Node | None, scope: _Scope) -> Iterator[Step]:
        for kind in entries(node):
            for hook in entries(kind.value):
                if hook.key.text in _HOOKS and isinstance(hook.value, Mapping):
                    yield from self._steps_of(hook.value.get("steps"), scope)
                elif hook.key.text == "on":
                    for end in entries(hook.value):
                        body = end.value.get("steps") if isinstance(end.value, Mapping) else None
                        yield from self._steps_of(body, scope)

    def _steps_of(self, node: Node | None, scope: _Scope) -> Iterator[Step]:
        for item in self._expanded(node):
            if self._steps >= MAX_STEPS:
                return
            self._steps += 1
            if item.get("template") is not None:
                yield from self._step_template(item, scope)
            else:
                yield from self._step(item, scope)

    def _step_template(self, body: Mapping, scope: _Scope) -> Iterator[Step]:
        found = self._opened(body, scope)
        if found is not None:
            document, inner = found
            yield from self._steps_of(document.get("steps"), inner)

    def _template(self, body: Mapping, scope: _Scope, reader: object) -> Iterator[Job]:
        found = self._opened(body, scope)
        if found is not None and callable(reader):
            document, inner = found
            yield from reader(document, inner)

    def _opened(self, body: Mapping, scope: _Scope) -> tuple[Mapping, _Scope] | None:
        name = _with_parameters(body.text("template"), scope.parameters)
        if "@" in name and not name.endswith("@self"):
            self._note(body, name)  # in another repository
            return None
        name = name.removesuffix("@self")
        if not name or self._templates >= MAX_TEMPLATES or scope.level >= MAX_LEVELS:
            return None
        self._templates += 1
        folder = self._root if name.startswith("/") else posixpath.dirname(scope.path)
        path = join(folder, name.lstrip("/"))
        document = self._documents.find(path)
        if document is None:
            self._note(body, name)
            return None
        given = {
            entry.key.text: _with_parameters(entry.value.text, scope.parameters)
            for entry in entries(body.get("parameters"))
            if isinstance(entry.value, Scalar)
        }
        return document, replace(scope, path=path, parameters={**_defaults(document), **given}, level=scope.level + 1)

    def _note(self, body: Mapping, name: str) -> None:
        entry = body.entry("template")
        span = entry.value.span if entry is not None else body.span
        self._unread.append(Unread(kind=Elsewhere.TEMPLATE, name=name, span=span))

    def _step(self, body: Mapping, scope: _Scope) -> Iterator[Step]:
        condition = body.text("condition")
        common = Step(
            span=_step_span(body),
            variables=tuple(variables(body.get("env"))),
            condition=condition,
            refs=_narrowed(scope.refs, condition) if condition else None,
            survives="always()" in condition or re.search(r"(?<!not\()\bcanceled\(\)", condition) is not None,
            limit=_limit(body.get("timeoutInMinutes")),
        )
        directory = _with_parameters(body.text("workingDirectory"), scope.parameters)
        for kind in _SCRIPTS:
            script = body.get(kind)
            if isinstance(script, Scalar):
                posix = kind in ("script", "bash")
                yield self._running(script, directory, common) if posix else replace(common, text=script.text)
                return
        task = body.get("task")
        if isinstance(task, Scalar):
            yield self._task(task, body, common, scope)
        elif (published := body.get("publish")) is not None and isinstance(published, Scalar):
            action = Action(name="publish", version="", span=published.span, inputs={"path": published})
            yield replace(common, action=action)
        elif body.get("download") is not None or body.get("downloadBuild") is not None:
            yield replace(common, action=Action(name="download", version="", span=common.span))

    def _running(self, script: Scalar, directory: str, common: Step) -> Step:
        effects = self._scripts.effects(script.text, script.at, directory=_plain(directory))
        granted = frozenset(re.findall(r"task\.setvariable variable=(\w+)", script.text))
        return replace(
            common, text=script.text, programs=effects.programs, operations=effects.operations, grants=granted
        )

    def _task(self, task: Scalar, body: Mapping, common: Step, scope: _Scope) -> Step:
        name, _, version = task.text.partition("@")
        inputs = {
            entry.key.text: entry.value for entry in entries(body.get("inputs")) if isinstance(entry.value, Scalar)
        }
        action = Action(name=name, version=version, span=task.span, inputs=inputs)
        common = replace(common, action=action, grants_unknown="keyvault" in name.lower())
        directory = _with_parameters(action.value("workingDirectory"), scope.parameters)
        if _TERRAFORM_TASKS.match(name):
            return replace(common, operations=tuple(_task_operations(action, body, _plain(directory))))
        inline = inputs.get(_INLINE.get(name.lower(), ""))
        if inline is not None and action.value("scriptType") not in ("ps", "pscore", "batch"):
            return self._running(inline, directory, common)
        file = inputs.get("filePath") or inputs.get("scriptPath")
        if file is not None:
            call = Scalar(text=f"./{_plain(file.text)}", span=file.span, source=file.source)
            effects = self._scripts.effects(call.text, lambda _start, _end: file.span, directory=_plain(directory))
            return replace(common, programs=effects.programs, operations=effects.operations)
        return common


def _plain(directory: str) -> str:
    """Return a directory relative to the sources: the predefined variables for their root taken off."""
    return re.sub(r"\A\$\((?:System\.DefaultWorkingDirectory|Build\.SourcesDirectory)\)/?", "", directory)


def _task_operations(action: Action, body: Mapping, directory: str) -> Iterator[Operation]:
    verb = action.value("command")
    if not verb:
        return
    options = action.inputs.get("commandOptions")
    flags: tuple[Flag, ...] = ()
    arguments: tuple[object, ...] = ()
    if options is not None:
        text = f"terraform {verb} {options.text}"
        shift = len(text) - len(options.text)
        reading = read_script(text, lambda start, end: options.at(max(0, start - shift), max(0, end - shift)))
        for operation in reading.operations:
            flags, arguments = operation.flags, operation.arguments
    if verb in ("apply", "destroy"):  # the tasks add it by themselves
        flags = (*flags, Flag(name="auto-approve", value=None, span=action.span))
    entry = body.entry("task")
    yield Operation(
        tool=Tool.TERRAFORM,
        verb=verb,
        span=entry.value.span if entry else action.span,
        flags=flags,
        arguments=tuple(arguments),  # type: ignore[arg-type]
        directory=directory,
        by_task=True,
    )


def _events(document: Mapping) -> Iterator[str]:
    if document.text("trigger") != "none":
        yield "push"
    if document.get("pr") is not None and document.text("pr") != "none":
        yield "pull_request"
    if document.get("schedules") is not None:
        yield "schedule"


def _refs(document: Mapping) -> Iterator[str]:
    trigger = document.get("trigger")
    if isinstance(trigger, Scalar) and trigger.text == "none":
        yield ANY_REF  # started by hand or by another pipeline
        return
    if isinstance(trigger, Mapping):
        branches = trigger.get("branches")
        trigger = branches.get("include") if isinstance(branches, Mapping) else branches
    names = [name.text for name in scalars(trigger)]
    for name in names or [ANY_REF]:
        yield ANY_REF if "*" in name else name
    if document.get("pr") is not None and document.text("pr") != "none":
        yield ANY_REF


def _narrowed(refs: frozenset[str], condition: str) -> frozenset[str]:
    found = _BRANCH_TEST.findall(condition)
    if not found or "or(" in condition:
        return refs
    return frozenset({found[0]}) if refs & {found[0], ANY_REF} else frozenset()


def _turn(body: Mapping) -> Turn | None:
    behaviour = body.get("lockBehavior")
    if not isinstance(behaviour, Scalar):
        return None
    known = behaviour.text if "${{" not in behaviour.text else None
    return Turn(key="", span=behaviour.span, keeps_all=None if known is None else known.lower() == "sequential")


def _defaults(document: Mapping) -> dict[str, str]:
    """Return the default values of a template's parameters, both spellings."""
    declared = document.get("parameters")
    found = {entry.key.text: entry.value.text for entry in entries(declared) if isinstance(entry.value, Scalar)}
    for item in items(declared):
        if isinstance(item, Mapping) and isinstance(default := item.get("default"), Scalar):
            found[item.text("name")] = default.text
    return found


def _with_parameters(text: str, parameters: MappingType[str, str]) -> str:
    return _PARAMETER.sub(lambda match: parameters.get(match.group(1), match.group()), text) if "${{" in text else text


def _azure_variables(node: Node | None) -> Iterator[Variable]:
    yield from variables(node)
    for item in items(node):
        name = item.get("name") if isinstance(item, Mapping) else None
        if isinstance(item, Mapping) and isinstance(name, Scalar):
            yield Variable(name=name.text, value=item.text("value"), span=name.span)


def _environment(node: Node | None) -> Scalar | None:
    if isinstance(node, Mapping):
        node = node.get("name")
    return node if isinstance(node, Scalar) else None


def _limit(node: Node | None) -> Limit | None:
    if not isinstance(node, Scalar):
        return None
    return Limit(seconds=float(node.text) * 60 if node.text.isdecimal() else None, span=node.span)


def _image(node: Node | None) -> Image | None:
    if isinstance(node, Mapping):
        node = node.get("image")
    return Image(name=node.text, span=node.span) if isinstance(node, Scalar) and ":" in node.text else None


def _step_span(body: Mapping) -> Span:
    for key in ("displayName", "name", *_SCRIPTS, "task", "publish", "download"):
        entry = body.entry(key)
        if entry is not None:
            return entry.key.span
    return body.span


def _artifacts(steps: tuple[Step, ...]) -> Iterator[Artifact]:
    for step in steps:
        action = step.action
        if action is None or action.name.lower() not in _PUBLISHING:
            continue
        path = action.inputs.get("path") or action.inputs.get("targetPath") or action.inputs.get("PathtoPublish")
        if path is not None:
            yield Artifact(paths=(path.text,), spans=(path.span,))


def _downloads(step: Step) -> bool:
    name = step.action.name.lower() if step.action else ""
    return "download" in name or _FETCHING.search(step.text) is not None
