"""Variables of a root module for which nobody gave a value: a supervised Terraform cannot ask, so we do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock.source.tree import is_configuration

_DECLARES: Final = re.compile(rb'\bvariable[\s"]')


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A variable that needs a value.

    Attributes:
        name: Its name.
        description: What its author says of it; empty when nothing.
        is_secret: It is sensitive, so nobody should see what is typed.
    """

    name: str
    description: str = ""
    is_secret: bool = False


def find_missing(directory: Path, flags: Sequence[str], environ: Mapping[str, str]) -> list[Wanted]:
    """Return the variables of a root module that have no default and no value, in the order of their names.

    Args:
        directory: The root module.
        flags: The user's flags for Terraform.
        environ: The environment of Terraform.
    """
    files = [path for path in directory.iterdir() if is_configuration(path.name) and path.is_file()]
    if not any(_DECLARES.search(path.read_bytes()) for path in files):
        return []
    from interlock.hcl import constant_flag, constant_text, read_module
    from interlock.hcl.given import given_values
    from interlock.secrecy import sounds_secret
    from interlock.source.disk import DiskTree

    root = read_module(DiskTree(), str(directory))
    given = given_values(root, DiskTree(), flags, environ)
    missing = []
    for name, variable in sorted(root.variables.items()):
        if variable.default is not None or name in given:
            continue
        body = variable.block.body
        marked = (written := body.get("sensitive")) is not None and constant_flag(written) is not False
        description = constant_text(body.get("description")) or ""
        missing.append(Wanted(name=name, description=description, is_secret=marked or sounds_secret(name)))
    return missing
