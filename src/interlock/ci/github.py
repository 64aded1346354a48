"""GitHub Actions files -> `Workflow`: workflows, the reusable ones they call, and composite actions.

Knows: workflow, document, scripts. Sources: the workflow syntax reference and the reference on workflow cancellation,
read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, replace

from interlock.ci.document import Mapping, Node, Scalar, SourceText, entries, items, scalars
from interlock.ci.documents import Documents
from interlock.ci.operations import Flag, Operation, Retry, Tool
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

MAX_CALLS = 4  # levels of reusable workflows; GitHub itself allows ten, real ones have two

REF_EXPRESSION = re.compile(
    r"github\.(?:ref|ref_name|head_ref|sha|run_id|run_number|run_attempt|actor|event\.(?:number|pull_request|after|head_commit))\b"
    r"|github\.event_name\b|GITHUB_(?:REF|REF_NAME|HEAD_REF|SHA|RUN_ID)\b"
)
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_WHOLE_EXPRESSION = re.compile(r"\s*\$\{\{(.*)\}\}\s*\Z", re.DOTALL)
_INPUT = re.compile(r"\$\{\{\s*inputs\.([\w-]+)\s*\}\}")
_REF_TEST = re.compile(r"github\.(?:ref|ref_name)\s*==\s*'(?:refs/heads/)?([^']+)'")
_EVENT_TEST = re.compile(r"github\.event_name\s*(==|!=)\s*'([^']+)'")
_EXPORT = re.compile(r"\b([A-Za-z_][A-Za-z0-9_]*)=")

# Actions that put credentials into the environment of later steps, by the variables that they set.
_GRANTING: MappingType[str, frozenset[str]] = {
    "aws-actions/configure-aws-credentials": frozenset(
        {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"}
    ),
    "google-github-actions/auth": frozenset({"GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CREDENTIALS"}),
}
_HANDS_FILES_OVER = re.compile(r"download-artifact|(?:^|/)cache(?:/restore)?\Z|restore-cache|s3-download")
_FETCHES_FILES = re.compile(
    r"\b(?:gh run download|gh api|aws s3|gsutil|gcloud storage|az storage|curl|wget|rclone|interlock ci)\b"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """One way in which a workflow starts: the event and the ref on which it then runs."""

    event: str
    ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """What a job inherits from the files around it."""

    path: str
    starts: tuple[_Start, ...]
    variables: tuple[Variable, ...] = ()
    turns: tuple[Turn, ...] = ()
    inputs: MappingType[str, str] | None = None
    directory: str = ""
    shell: str = ""
    prefix: str = ""
    standalone: bool = True
    level: int = 0


def read(tree: Tree, path: str, *, root: str) -> Workflow:
    """Read a workflow file or a composite action (`action.yml`) of the repository at `root`."""
    return _Reader(tree, root).read(path)


class _Reader:
    def __init__(self, tree: Tree, root: str) -> None:
        self._root = root
        self._scripts = Scripts(tree, root)
        self._documents = Documents(tree)
        self._jobs = 0
        self._steps = 0
        self._unread: list[Unread] = []

    def read(self, path: str) -> Workflow:
        document = self._documents.find(path)
        events: frozenset[str] = frozenset()
        jobs: list[Job] = []
        if document is not None and isinstance(document.get("jobs"), Mapping):
            starts = tuple(_starts(document.get("on")))
            events = frozenset(start.event for start in starts)
            called_only = events == {"workflow_call"}
            scope = _Scope(path=path, starts=starts, standalone=not called_only)
            jobs = list(self._workflow_jobs(document, scope))
        elif document is not None and isinstance(document.get("runs"), Mapping):
            jobs = list(self._action_job(document, path))
        return Workflow(
            vendor=Vendor.GITHUB,
            path=path,
            span=SourceText(path, "").span(0, 0),
            events=events,
            jobs=tuple(jobs),
            unread=tuple(dict.fromkeys(self._unread)),
            problems=self._documents.problems,
        )

    def _workflow_jobs(self, document: Mapping, scope: _Scope) -> Iterator[Job]:
        scope = replace(
            scope,
            variables=(*scope.variables, *variables(document.get("env"))),
            turns=(*scope.turns, *_turns(document, scope)),
            directory=_default(document, "working-directory") or scope.directory,
            shell=_default(document, "shell") or scope.shell,
        )
        jobs = document.get("jobs")
        for entry in entries(jobs):
            if isinstance(entry.value, Mapping) and self._jobs < MAX_JOBS:
                self._jobs += 1
                yield from self._job(entry.key, entry.value, scope)

    def _job(self, key: Scalar, body: Mapping, scope: _Scope) -> Iterator[Job]:
        scope = replace(
            scope, turns=(*scope.turns, *_turns(body, scope)), starts=_narrowed(scope.starts, body.text("if"))
        )
        called = body.get("uses")
        if isinstance(called, Scalar):
            yield from self._called_jobs(key, body, called, scope)
            return
        scope = replace(
            scope,
            variables=(*scope.variables, *variables(body.get("env"))),
            directory=_default(body, "working-directory") or scope.directory,
            shell=_default(body, "shell") or scope.shell,
        )
        steps = tuple(self._steps_of(body.get("steps"), scope))
        yield Job(
            name=scope.prefix + key.text,
            span=key.span,
            steps=steps,
            variables=scope.variables,
            turns=scope.turns,
            environment=_environment(body.get("environment")),
            limit=_limit(body.get("timeout-minutes")),
            condition=body.text("if"),
            refs=frozenset(start.ref for start in scope.starts),
            needs=tuple(need.text for need in scalars(body.get("needs"))),
            artifacts=tuple(_artifacts(steps)),
            receives=_receives(steps),
            image=_image(body.get("container")),
            standalone=scope.standalone,
        )

    def _called_jobs(self, key: Scalar, body: Mapping, called: Scalar, scope: _Scope) -> Iterator[Job]:
        if not called.text.startswith("./"):
            self._unread.append(Unread(kind=Elsewhere.WORKFLOW, name=called.text, span=called.span))
            step = Step(span=called.span, action=_action(called, body.get("with")))
            yield Job(name=scope.prefix + key.text, span=key.span, steps=(step,), turns=scope.turns, standalone=False)
            return
        path = join(self._root, called.text)
        document = self._documents.find(path) if scope.level < MAX_CALLS else None
        if document is None:
            self._unread.append(Unread(kind=Elsewhere.WORKFLOW, name=called.text, span=called.span))
            return
        inner = _Scope(
            path=path,
            starts=scope.starts,
            turns=scope.turns,
            inputs=_inputs(document, body.get("with"), scope),
            prefix=f"{scope.prefix}{key.text} / ",
            level=scope.level + 1,
        )
        yield from self._workflow_jobs(document, inner)

    def _action_job(self, document: Mapping, path: str) -> Iterator[Job]:
        runs = document.get("runs")
        if isinstance(runs, Mapping) and runs.get("steps") is not None:
            scope = _Scope(path=path, starts=(_Start(event="", ref=ANY_REF),), standalone=False)
            entry = document.entry("runs")
            steps = tuple(self._steps_of(runs.get("steps"), scope))
            yield Job(name="action", span=entry.key.span if entry else runs.span, steps=steps, standalone=False)

    def _steps_of(self, node: Node | None, scope: _Scope) -> Iterator[Step]:
        for item in items(node):
            if isinstance(item, Mapping) and self._steps < MAX_STEPS:
                self._steps += 1
                yield from self._step(item, scope)

    def _step(self, body: Mapping, scope: _Scope) -> Iterator[Step]:
        uses, run = body.get("uses"), body.get("run")
        condition = body.text("if")
        common = Step(
            span=_step_span(body),
            variables=tuple(variables(body.get("env"))),
            condition=condition,
            refs=frozenset(start.ref for start in _narrowed(scope.starts, condition)) if condition else None,
            survives=_survives(condition),
            limit=_limit(body.get("timeout-minutes")),
        )
        if isinstance(uses, Scalar) and uses.text.startswith("./"):
            yield from self._local_action(uses, body, scope, common)
        elif isinstance(uses, Scalar):
            yield self._using(_action(uses, body.get("with")), common, _substituted(scope.directory, scope.inputs))
        elif isinstance(run, Scalar):
            yield self._running(run, body, scope, common)

    def _running(self, run: Scalar, body: Mapping, scope: _Scope, common: Step) -> Step:
        shell = body.text("shell") or scope.shell
        if shell and not shell.startswith(("bash", "sh")):
            return replace(common, text=run.text)
        directory = _substituted(body.text("working-directory") or scope.directory, scope.inputs)
        effects = self._scripts.effects(run.text, run.at, directory=directory)
        return replace(
            common,
            text=run.text,
            programs=effects.programs,
            operations=effects.operations,
            grants=frozenset(_EXPORT.findall(run.text)) if "GITHUB_ENV" in run.text else frozenset(),
        )

    def _using(self, action: Action, common: Step, directory: str) -> Step:
        name = action.name.lower()
        operations = tuple(_action_operations(action))
        retried = action.inputs.get("command") if name.endswith("/retry") else None
        if retried is not None:
            again = _tried_again(action, common.span)
            effects = self._scripts.effects(retried.text, retried.at, directory=directory)
            operations = tuple(replace(found, retry=found.retry or again) for found in effects.operations)
        known = _GRANTING.get(name, frozenset())
        return replace(
            common,
            action=action,
            operations=operations,
            grants=known,
            grants_unknown=bool(re.search(r"vault|secret|1password|azure/login|credentials|auth", name)) and not known,
        )

    def _local_action(self, uses: Scalar, body: Mapping, scope: _Scope, common: Step) -> Iterator[Step]:
        document = None
        for name in ("action.yml", "action.yaml"):
            path = join(self._root, uses.text, name)
            document = document or self._documents.find(path)
            if document is not None:
                break
        runs = document.get("runs") if document is not None else None
        if scope.level >= MAX_CALLS or document is None or not isinstance(runs, Mapping):
            if document is None:
                self._unread.append(Unread(kind=Elsewhere.ACTION, name=uses.text, span=uses.span))
            yield replace(common, grants_unknown=True)
            return
        inner = replace(
            scope, path=path, inputs=_inputs(document, body.get("with"), scope), level=scope.level + 1, directory=""
        )
        for step in self._steps_of(runs.get("steps"), inner):
            yield replace(
                step,
                variables=(*common.variables, *step.variables),
                condition=" && ".join(part for part in (common.condition, step.condition) if part),
                survives=common.survives or step.survives,
                limit=step.limit or common.limit,
            )


def _tried_again(action: Action, span: Span) -> Retry | None:
    """Return what a retry action does: nick-fields/retry waits ten seconds unless told otherwise, which is no wait.

    A rate limit lasts a minute, and a lock as long as its holder's apply.
    """
    tries = action.value("max_attempts") or action.value("attempt_limit") or action.value("retries") or "3"
    if tries.strip() == "1":
        return None
    waited = action.value("retry_wait_seconds") or "10"
    return Retry(span=span, waits=not waited.strip().isdecimal() or int(waited) >= _WAIT_S)


_WAIT_S = 30  # a wait in which something else can have changed


def _starts(node: Node | None) -> Iterator[_Start]:
    for event in scalars(node):
        yield from _starts_of(event.text, None)
    for entry in entries(node):
        yield from _starts_of(entry.key.text, entry.value)


def _starts_of(event: str, body: Node | None) -> Iterator[_Start]:
    if event == "push" and isinstance(body, Mapping):
        named = [branch.text for branch in scalars(body.get("branches"))]
        tags = body.get("tags") is not None or body.get("tags-ignore") is not None
        if tags and not named and body.get("branches-ignore") is None:
            yield _Start(event=event, ref=ANY_REF)
            return
        for branch in named or ["**"]:
            yield _Start(event=event, ref=ANY_REF if set(branch) & set("*?[!+") else branch)
        if tags:
            yield _Start(event=event, ref=ANY_REF)
    elif event in ("schedule", "repository_dispatch", "workflow_run", "merge_group"):
        yield _Start(event=event, ref="" if event != "merge_group" else ANY_REF)
    else:
        yield _Start(event=event, ref=ANY_REF)


def _narrowed(starts: tuple[_Start, ...], condition: str) -> tuple[_Start, ...]:
    """Return the starts that a condition lets through, as far as its plain parts tell."""
    if not condition or "||" in condition:
        return starts
    kept = list(starts)
    for wanted in _REF_TEST.findall(condition):
        kept = [
            replace(start, ref=wanted) for start in kept if start.ref in (wanted, ANY_REF, "") and not _is_pull(start)
        ]
    for sign, event in _EVENT_TEST.findall(condition):
        kept = [start for start in kept if (start.event == event) == (sign == "==") or start.event == "workflow_call"]
    return tuple(kept)


def _is_pull(start: _Start) -> bool:
    return start.event in ("pull_request", "merge_group")


def _turns(body: Mapping, scope: _Scope) -> Iterator[Turn]:
    entry = body.entry("concurrency")
    if entry is None:
        return
    value = entry.value
    group = value.get("group") if isinstance(value, Mapping) else value
    if not isinstance(group, Scalar):
        return
    key = _substituted(group.text, scope.inputs)
    cancel = value.get("cancel-in-progress") if isinstance(value, Mapping) else None
    queue = value.get("queue") if isinstance(value, Mapping) else None
    yield Turn(
        key=key,
        span=group.span,
        keeps_all=_keeps_all(queue),
        cancels=_boolean(cancel),
        cancel_span=cancel.span if cancel is not None else None,
        follows_ref=any(REF_EXPRESSION.search(part) for part in _EXPRESSION.findall(key)),
    )


def _keeps_all(queue: Node | None) -> bool | None:
    if not isinstance(queue, Scalar):
        return False
    return None if "${{" in queue.text else queue.text == "max"


def _boolean(node: Node | None) -> bool | None:
    if node is None:
        return False
    if not isinstance(node, Scalar) or "${{" in node.text:
        return None
    return node.text.strip().lower() == "true"


def _survives(condition: str) -> bool:
    return "always()" in condition or re.search(r"(?<!!)\bcancelled\(\)", condition) is not None


def _inputs(document: Mapping, given: Node | None, scope: _Scope) -> MappingType[str, str]:
    """Return the inputs of a called file by name: its defaults, then what the caller gives."""
    found: dict[str, str] = {}
    declared: Node | None = document.get("inputs")
    on = document.get("on")
    if isinstance(on, Mapping) and isinstance(call := on.get("workflow_call"), Mapping):
        declared = call.get("inputs")
    for entry in entries(declared):
        default = entry.value.get("default") if isinstance(entry.value, Mapping) else None
        if isinstance(default, Scalar):
            found[entry.key.text] = default.text
    for entry in entries(given):
        if isinstance(entry.value, Scalar):
            found[entry.key.text] = _substituted(entry.value.text, scope.inputs)
    return found


def _substituted(text: str, inputs: MappingType[str, str] | None) -> str:
    """Put the caller's inputs in place of `${{ inputs.x }}`."""
    if not inputs or "inputs." not in text:
        return text
    return _INPUT.sub(lambda match: inputs.get(match.group(1), match.group()), text)


def _default(body: Mapping, name: str) -> str:
    defaults = body.get("defaults")
    run = defaults.get("run") if isinstance(defaults, Mapping) else None
    return run.text(name) if isinstance(run, Mapping) else ""


def _environment(node: Node | None) -> Scalar | None:
    if isinstance(node, Mapping):
        node = node.get("name")
    return node if isinstance(node, Scalar) else None


def _limit(node: Node | None) -> Limit | None:
    if not isinstance(node, Scalar):
        return None
    try:
        seconds: float | None = float(node.text) * 60
    except ValueError:
        seconds = None
    return Limit(seconds=seconds, span=node.span)


def _image(node: Node | None) -> Image | None:
    if isinstance(node, Mapping):
        node = node.get("image")
    return Image(name=node.text, span=node.span) if isinstance(node, Scalar) else None


def _step_span(body: Mapping) -> Span:
    for key in ("name", "id", "uses", "run"):
        entry = body.entry(key)
        if entry is not None:
            return entry.key.span
    return body.span


def _action(uses: Scalar, given: Node | None) -> Action:
    name, _, version = uses.text.partition("@")
    inputs = {entry.key.text: entry.value for entry in entries(given) if isinstance(entry.value, Scalar)}
    return Action(name=name, version=version, span=uses.span, inputs=inputs)


def _artifacts(steps: Iterable[Step]) -> Iterator[Artifact]:
    for step in steps:
        path = step.action.inputs.get("path") if step.action else None
        if path is None or step.action is None or not step.action.name.lower().endswith("/upload-artifact"):
            continue
        found = [(line.strip(), path.text.index(line)) for line in path.text.splitlines() if line.strip()]
        yield Artifact(
            paths=tuple(text for text, _ in found),
            spans=tuple(
                path.at(start + _indent(path.text, start), start + _indent(path.text, start) + len(text))
                for text, start in found
            ),
        )


def _indent(text: str, start: int) -> int:
    return len(text[start:]) - len(text[start:].lstrip())


def _receives(steps: Iterable[Step]) -> bool | None:
    for step in steps:
        if step.action is not None and _HANDS_FILES_OVER.search(step.action.name.lower()):
            return True
        if _FETCHES_FILES.search(step.text):
            return True
        if step.action is not None and not step.action.name.startswith(
            ("actions/", "hashicorp/", "opentofu/", "aws-actions/")
        ):
            return None  # somebody's action may well bring the plan
        if step.grants_unknown and step.action is None:
            return None
    return False


# Actions that run Terraform themselves, by the verb they run.
_RUNNING = {
    "dflook/terraform-apply": "apply", "dflook/terraform-plan": "plan", "dflook/terraform-destroy": "destroy",
    "dflook/tofu-apply": "apply", "dflook/tofu-plan": "plan", "dflook/tofu-destroy": "destroy",
}  # fmt: skip


def _action_operations(action: Action) -> Iterator[Operation]:
    name = action.name.lower()
    tool, verb = (Tool.TOFU if "tofu" in name else Tool.TERRAFORM), _RUNNING.get(name, "")
    if name == "op5dev/tf-via-pr":
        verb = action.value("command")
    elif name == "gruntwork-io/terragrunt-action":
        tool, words = Tool.TERRAGRUNT, action.value("tg_command").split()
        verb = next((word for word in words if word in ("plan", "apply", "destroy")), "")
    if verb:
        flags = (
            (Flag(name="auto-approve", value=None, span=action.span),) if action.value("auto_approve") == "true" else ()
        )
        directory = action.value("path") or action.value("working-directory")
        yield Operation(tool=tool, verb=verb, span=action.span, flags=flags, directory=directory, by_task=True)
