"""What lies in a folder and may say where its state is: which program would run it, and which words it holds. A hand.

Cheap on purpose: every run asks here before anything that reads HCL is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from interlock.errors import UsageError
from interlock.late_pattern import late, late_bytes
from interlock.source.tree import Tool, is_configuration

# As `STATE_WORDS` of `interlock.existing.discovery`, whose import costs more than this look.
_ENCRYPTION_WORD = late_bytes(rb"\bencryption\b|\\u")
_REFERENCE = late(r"\b(?:var|local)\s*\.")
_BACKEND_WORD = late_bytes(rb"\b(?:backend|cloud|state_store)\b|\\u")


def tool_for(directory: Path, environ: Mapping[str, str], terraform: str | None) -> Tool:
    """Return the program that would run a root module. It matters only where there are files that Terraform skips.

    Args:
        directory: The root module.
        environ: The environment in which it is looked for.
        terraform: The program as settings or a flag name it; None for what is found.
    """
    if not any(
        is_configuration(path.name) and not is_configuration(path.name, Tool.TERRAFORM) for path in directory.iterdir()
    ):
        return Tool.TERRAFORM
    from interlock.run.binary import find_binary, tool_of

    try:
        binary = find_binary(terraform, environ)
    except UsageError:  # none is installed; nothing is run then, and OpenTofu reads everything
        return Tool.TOFU
    return tool_of(binary.name)


def check_reads(program: str, directory: Path) -> None:
    """Refuse files that the program does not read: to Terraform a folder of OpenTofu's files is an empty one."""
    from interlock.run.binary import tool_of

    tool = tool_of(program)
    if not any(is_configuration(entry.name, tool) for entry in directory.iterdir()):
        raise UsageError(
            f"{directory} holds only OpenTofu's files",
            why=f"{program} does not read .tofu files and would see an empty configuration",
            fix="install tofu, or name it with --terraform",
        )


class Encryption(NamedTuple):
    """That OpenTofu encrypts states or plans of a root module.

    Attributes:
        where: What turns it on, for people.
        asks: It refers to variables or locals, so every command needs their values, also the apply of a plan.
    """

    where: str
    asks: bool = False


def find_encryption(program: str, directory: Path, environ: Mapping[str, str]) -> Encryption | None:
    """Say whether a run of this root module encrypts its state or plan; None when it does not.

    Which of the two, and with which key, only OpenTofu knows: the blocks may refer to anything that it can evaluate.
    """
    from interlock.run.binary import tool_of

    if tool_of(program) is not Tool.TOFU:
        return None  # Terraform knows no encryption, and says so itself
    beside = environ.get("TF_ENCRYPTION", "")
    blocks = _encryption_blocks(directory)
    asks = any(_REFERENCE.search(text) for text in (beside, *blocks.values()))
    if beside:
        return Encryption("TF_ENCRYPTION is set", asks)
    return Encryption(next(iter(blocks)), asks) if blocks else None


def _encryption_blocks(directory: Path) -> dict[str, str]:
    """Return the text of each block that turns encryption on, by where it is. The word alone is cheap to look for."""
    if not any(_ENCRYPTION_WORD.search(path.read_bytes()) for path in sources_of(directory)):
        return {}
    from interlock.hcl import read_module
    from interlock.source.disk import DiskTree

    found: dict[str, str] = {}
    for block in read_module(DiskTree(), str(directory)).settings:
        for nested in block.body.nested:
            if nested.type == "encryption":
                path, span = Path(nested.header.path), nested.span
                text = (directory / path.name).read_bytes()[span.start : span.end]
                found[f"`encryption` in {path.name}, line {nested.header.line}"] = text.decode(errors="replace")
        if "encryption" in block.body.attributes:  # JSON has it as a member
            path = Path(block.body.attributes["encryption"].span.path)
            found[f"`encryption` in {path.name}"] = (directory / path.name).read_text(
                errors="replace", encoding="utf-8"
            )
    return found


def may_be_elsewhere(directory: Path, environ: Mapping[str, str], extra: Sequence[str]) -> bool:
    """Say whether anything may speak of a state elsewhere: a word in a file, a flag, an earlier init, a local state."""
    words = " ".join([*extra, *(environ.get(name, "") for name in ("TF_CLI_ARGS", "TF_CLI_ARGS_init"))])
    beside = ("terraform.tfstate", "terraform.tfstate.d")
    data_dir = directory / (environ.get("TF_DATA_DIR") or ".terraform")
    return (
        "backend-config" in words
        or environ.get("TF_WORKSPACE", "default") not in {"", "default"}
        or any((directory / name).exists() for name in beside)
        or any((data_dir / name).exists() for name in ("terraform.tfstate", "environment"))
        or any(_BACKEND_WORD.search(path.read_bytes()) for path in sources_of(directory))
    )


def sources_of(directory: Path) -> list[Path]:
    """Return the configuration files of a folder, of Terraform and OpenTofu."""
    return [path for path in directory.iterdir() if is_configuration(path.name) and path.is_file()]
