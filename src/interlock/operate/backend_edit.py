"""The edit of a configuration whose state was moved: without its backend, and without what `init` recorded of it."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from interlock.bounded import read_json
from interlock.errors import UsageError
from interlock.existing.vocabulary import is_credential
from interlock.hcl import Backend, Module, read_folder
from interlock.lint.editing import remove_lines
from interlock.source.disk import DiskTree, write_file
from interlock.source.tree import Span, Tool

ADOPTED = ".adopted"
"""Appended to the name of a file that no longer counts: it stays, and Terraform does not read it."""

_RECORD = "terraform.tfstate"
_SETTING = re.compile(r'^(?P<head>[-+ ]\s*"?(?P<name>[\w.-]+)"?\s*[:=]\s*)(?P<value>.+?)(?P<tail>,?\s*)$')


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendEdit:
    """What is to be changed in a root module.

    Attributes:
        path: The file with the backend block; None when there is none.
        before: Its bytes.
        after: Its bytes without the block.
        record: What an earlier `init` recorded of the backend; None when it recorded nothing.
    """

    path: Path | None = None
    before: bytes = b""
    after: bytes = b""
    record: Path | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be changed."""
        return self.path is None and self.record is None

    def diff(self) -> str:
        """Return the change for people, as a unified diff; values of credentials are left out of it."""
        if self.path is None:
            return ""
        name = self.path.name
        old, new = (text.decode(errors="replace").splitlines() for text in (self.before, self.after))
        lines = difflib.unified_diff(old, new, f"a/{name}", f"b/{name}", lineterm="", n=2)
        return "\n".join(_without_secret(line) for line in lines)


def plan_edit(directory: Path, environ: Mapping[str, str], tool: Tool) -> BackendEdit:
    """Return what must change so that nothing leads to the backend any more.

    Raises:
        UsageError: The block is written in a way that cannot be edited here.
    """
    record = directory / (environ.get("TF_DATA_DIR") or ".terraform") / _RECORD
    kept = record if record.is_file() else None
    module = read_folder(DiskTree(), str(directory), tool)
    if module.backend is None:
        return BackendEdit(record=kept)
    path = Path(module.backend.block.span.path)
    before = path.read_bytes()
    return BackendEdit(path=path, before=before, after=_without(module, module.backend, before), record=kept)


def apply_edit(edit: BackendEdit) -> None:
    """Write the edit, if the file still is as it was read.

    Raises:
        UsageError: It is not.
    """
    if edit.path is not None:
        if edit.path.read_bytes() != edit.before:
            raise UsageError(f"{edit.path} changed meanwhile", why="it was not edited", fix="repeat the command")
        write_file(edit.path, edit.after, mode=edit.path.stat().st_mode & 0o777)
    if edit.record is not None:
        put_aside(edit.record)


def put_aside(path: Path) -> Path:
    """Rename a file so that Terraform does not read it any more; return its new name."""
    aside = path.with_name(path.name + ADOPTED)
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}{ADOPTED}.{number}")
    path.rename(aside)
    return aside


def _without(module: Module, backend: Backend, content: bytes) -> bytes:
    if backend.body.is_json:
        return _without_in_json(backend, content)
    edit = remove_lines(_whole(module, backend), content)
    return content[: edit.start] + edit.text.encode() + content[edit.end :]


def _whole(module: Module, backend: Backend) -> Span:
    """Return what is to go: the block, or the `terraform` block around it when it holds nothing else."""
    span = backend.block.span
    for around in module.settings:
        if around.span.path == span.path and around.span.start <= span.start and span.end <= around.span.end:
            is_alone = not around.body.attributes and len(around.body.nested) == 1
            return around.span if is_alone else span
    return span


def _without_in_json(backend: Backend, content: bytes) -> bytes:
    kind = backend.block.type
    document = read_json(content)
    blocks = document.get("terraform")
    for block in blocks if isinstance(blocks, list) else [blocks]:
        if isinstance(block, dict):
            block.pop(kind, None)
    if not blocks or blocks == [{}]:
        document.pop("terraform", None)
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _without_secret(line: str) -> str:
    """Hide the value of a setting that is a credential."""
    found = _SETTING.match(line)
    if found is None or not is_credential(found["name"], found["value"].strip('"')):
        return line
    return f'{found["head"]}"(not shown)"{found["tail"]}'
