"""Uses of Terraform that touch nothing: of root modules with neither a resource nor a backend.

Such a module only computes values from its variables; pipelines "apply" it to read its outputs, and nothing of it can
be locked, reviewed or lost.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from interlock.ci.operations import Operation
from interlock.ci.reading import root_of
from interlock.ci.workflow import Job, Step, Workflow
from interlock.hcl import Module
from interlock.source.tree import join

_VARIABLE = re.compile(r"\$\{\{.*?\}\}|\$\{?\w+\}?")


def without_idle(workflow: Workflow, modules: Sequence[Module]) -> Workflow:
    """Return a workflow without the uses of Terraform that touch nothing."""
    idle = {module.path: _is_idle(module) for root in modules for module in root.walk()}
    if not any(idle.values()):
        return workflow
    root = root_of(workflow.path)
    return replace(workflow, jobs=tuple(_job(job, root, idle) for job in workflow.jobs))


def _is_idle(module: Module) -> bool:
    parts = tuple(module.walk())
    return (
        module.backend is None
        and module.is_whole
        and not any(resource.mode == "managed" for part in parts for resource in part.resources)
        and all(call.module is not None for part in parts for call in part.calls)
    )


def _job(job: Job, root: str, idle: dict[str, bool]) -> Job:
    return replace(job, steps=tuple(_step(step, root, idle) for step in job.steps))


def _step(step: Step, root: str, idle: dict[str, bool]) -> Step:
    kept = tuple(one for one in step.operations if not _touches_nothing(one, root, idle))
    return step if len(kept) == len(step.operations) else replace(step, operations=kept)


def _touches_nothing(operation: Operation, root: str, idle: dict[str, bool]) -> bool:
    """Say whether every module that may be meant is idle; a variable in the folder's name may be any name."""
    if not operation.directory:
        return False
    pieces = _VARIABLE.split(join(root, operation.directory))
    pattern = re.compile("[^/]+".join(map(re.escape, pieces)))
    meant = [is_idle for path, is_idle in idle.items() if pattern.fullmatch(path)]
    return bool(meant) and all(meant)
