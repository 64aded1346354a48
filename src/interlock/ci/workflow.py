"""The typed view of a CI file, the same for every vendor, with the place of everything that a rule may speak of.

Knows: document, operations. Readers (`github.py`, `gitlab.py`, `azure.py`) fill it in; rules read it. What a reader
could not know is None, and a rule is then silent.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from interlock.ci.document import Mapping as Block
from interlock.ci.document import Node, Scalar, entries
from interlock.ci.operations import Operation, Program, flags_of_environment
from interlock.source.tree import Span

MAX_JOBS = 1_000  # of one file, templates and called workflows included
MAX_STEPS = 5_000  # of one file, likewise
_TERRAFORM_INCLUDE = re.compile(r"terraform|opentofu|terragrunt", re.IGNORECASE)
ANY_REF = "*"  # some ref that the file does not name


class Vendor(enum.Enum):
    """Whose CI system reads the file."""

    GITHUB = "github"
    GITLAB = "gitlab"
    AZURE = "azure"
    JENKINS = "jenkins"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something in the file that could not be read."""

    span: Span
    message: str


class Elsewhere(enum.Enum):
    """What a file uses that is not in the repository, so that nothing can be said about it."""

    WORKFLOW = "remote-workflow"
    TEMPLATE = "remote-template"
    EXTENDS = "extends-unread"
    INCLUDE = "remote-include"
    ACTION = "missing-action"
    SCRIPT = "missing-script"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """Something that was not read, and so not judged: what kind of thing, its name, and where it is used."""

    kind: Elsewhere
    name: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One environment variable that the file sets; `span` is its name's place."""

    name: str
    value: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What makes jobs wait for each other.

    Attributes:
        key: The name under which they wait, expressions and all; "" when the vendor has none.
        span: The place of that name.
        keeps_all: Every waiter gets its turn. False when a newer one replaces an older; None when a file cannot say.
        cancels: A newer one stops the running one. None for an expression.
        cancel_span: The place that says so.
        follows_ref: The name differs between branches or runs.
    """

    key: str
    span: Span
    keeps_all: bool | None = None
    cancels: bool | None = False
    cancel_span: Span | None = None
    follows_ref: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A time limit; `seconds` is None when it is an expression. 0.0 means none."""

    seconds: float | None
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Somebody's packaged step: a GitHub action, a GitLab component, an Azure task.

    Attributes:
        name: Without the version: `actions/checkout`.
        version: Behind the `@`, "" for none.
        span: The whole reference.
        inputs: Its inputs.
    """

    name: str
    version: str
    span: Span
    inputs: Mapping[str, Scalar] = field(default_factory=dict)

    def value(self, name: str) -> str:
        """Return an input's text, "" when it is not given."""
        found = self.inputs.get(name)
        return found.text if found else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a job.

    Attributes:
        span: Its name, or what it runs.
        text: Its script, "" for none.
        programs: The programs of the script and of the script files and make targets that it calls.
        operations: What it does with Terraform.
        action: What it uses instead of a script.
        variables: Set for this step alone.
        grants: Variables that later steps of the job inherit from it.
        grants_unknown: It may pass on variables whose names the file does not tell.
        condition: When it runs, as written.
        refs: Refs on which it may run; None for those of its job.
        survives: It runs although the job was cancelled.
        limit: Its own time limit.
    """

    span: Span
    text: str = ""
    programs: tuple[Program, ...] = ()
    operations: tuple[Operation, ...] = ()
    action: Action | None = None
    variables: tuple[Variable, ...] = ()
    grants: frozenset[str] = frozenset()
    grants_unknown: bool = False
    condition: str = ""
    refs: frozenset[str] | None = None
    survives: bool = False
    limit: Limit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Files that a job hands on or shows.

    Attributes:
        paths: As written.
        spans: Their places, one for each path.
        restricted: The file limits who may read it.
    """

    paths: tuple[str, ...]
    spans: tuple[Span, ...]
    restricted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """The CI system runs a failed job again, at once."""

    span: Span
    after_script_failure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The container image in which a job runs."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job.

    Attributes:
        name: Its name in the file.
        span: The place of that name.
        steps: In order.
        variables: Those of the file and the job.
        turns: What serialises it, outermost first.
        environment: Name and place of the deployment environment.
        limit: Its time limit.
        condition: When it runs, as written.
        refs: Refs on which it may run by triggers and conditions; `ANY_REF` for those without a name.
        needs: Jobs before it.
        artifacts: What it hands on.
        receives: It is handed files of other jobs; None when that cannot be known.
        retries: What repeats it.
        image: Where it runs.
        standalone: False when another file decides about turns and limits, as with a called workflow or an action.
    """

    name: str
    span: Span
    steps: tuple[Step, ...] = ()
    variables: tuple[Variable, ...] = ()
    turns: tuple[Turn, ...] = ()
    environment: Scalar | None = None
    limit: Limit | None = None
    condition: str = ""
    refs: frozenset[str] = frozenset({ANY_REF})
    needs: tuple[str, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    receives: bool | None = None
    retries: Retries | None = None
    image: Image | None = None
    standalone: bool = True

    def operations(self) -> Iterator[tuple[Step, Operation]]:
        """Yield what the job does with Terraform, flags of TF_CLI_ARGS variables of the file added."""
        outer = {variable.name: variable.value for variable in self.variables}
        for step in self.steps:
            scope = {**outer, **{variable.name: variable.value for variable in step.variables}}
            for operation in step.operations:
                yield step, _with_scope(operation, scope)

    def refs_of(self, step: Step) -> frozenset[str]:
        """Return the refs on which one of its steps may run."""
        return self.refs if step.refs is None else step.refs


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """One CI file with everything that it includes.

    Attributes:
        vendor: Whose.
        path: The file.
        span: Its beginning.
        events: What starts it, such as `push`, `pull_request`, `schedule`; empty when the file does not say.
        jobs: In order.
        includes: References to other people's code besides the steps' actions.
        problems: What could not be read.
        unread: What is used and not in the repository.
    """

    vendor: Vendor
    path: str
    span: Span
    events: frozenset[str] = frozenset()
    jobs: tuple[Job, ...] = ()
    includes: tuple[Action, ...] = ()
    problems: tuple[Problem, ...] = ()
    unread: tuple[Unread, ...] = ()

    @property
    def uses_terraform(self) -> bool:
        """Whether any step, or an include by its name, works with Terraform; others are nobody's business here."""
        return any(step.operations for job in self.jobs for step in job.steps) or any(
            _TERRAFORM_INCLUDE.search(include.name) for include in self.includes
        )


def variables(node: Node | None) -> Iterator[Variable]:
    """Yield the variables of a mapping; GitLab's long form (`value:`) included."""
    for entry in entries(node):
        value = entry.value.get("value") if isinstance(entry.value, Block) else entry.value
        if isinstance(value, Scalar):
            yield Variable(name=entry.key.text, value=value.text, span=entry.key.span)


def _with_scope(operation: Operation, scope: Mapping[str, str]) -> Operation:
    from dataclasses import replace

    own = {name: value for name, value in scope.items() if name not in operation.exports}
    flags = flags_of_environment(own, operation.verb, operation.span)
    return replace(operation, flags=(*flags, *operation.flags), exports={**own, **operation.exports})
