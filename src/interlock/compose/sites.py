"""States that stay where they are: the backend that a configuration declares, and what AWS needs for one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.clock import SystemClock
from interlock.compose.names import find_root_module
from interlock.compose.stores import read_settings
from interlock.errors import UsageError
from interlock.ids import RandomIds
from interlock.source import Tool, is_configuration

if TYPE_CHECKING:
    from interlock.existing import Found
    from interlock.existing.bootstrap import S3Account, Wanted
    from interlock.onsite.finding import Located
    from interlock.onsite.site import Site
    from interlock.store.aws import AwsAccess

# As `STATE_WORDS` of `interlock.existing.discovery`, whose import costs more than this look.
_BACKEND_WORD = re.compile(rb"\b(?:backend|cloud|state_store)\b|\\u")


def named_site(text: str, environ: Mapping[str, str] | None = None) -> Found | None:
    """Return the backend of the root module that a person names, when its state stays there; None for our own.

    Raises:
        UsageError: The state is where runs cannot work on it.
    """
    folder = find_root_module(text)
    return None if folder is None else declared_site(folder.resolve(), os.environ if environ is None else environ)


def declared_site(directory: Path, environ: Mapping[str, str]) -> Found | None:
    """Return a root module's own backend when its state stays there; None for our own.

    Raises:
        UsageError: The state is where runs cannot work on it.
    """
    located = locate(directory, environ)
    if located is None:
        return None
    from interlock.onsite.finding import Existing, Refused

    if isinstance(located, Refused):
        raise located.error
    return located.found if isinstance(located, Existing) else None


def locate(
    directory: Path,
    environ: Mapping[str, str],
    extra: Sequence[str] = (),
    *,
    tool: Tool | None = None,
    state: str | None = None,
) -> Located | None:
    """Return what `locate_state` says of a root module; None where nothing in sight speaks of a state elsewhere.

    Then it is Interlock's own, and the HCL reader need not be imported.

    Args:
        directory: The root module, absolute.
        environ: The environment in which Terraform would run.
        extra: The user's flags for Terraform.
        tool: The program that would run; None to look which one that is.
        state: The name that the state would have in Interlock's own backend.
    """
    if not _may_be_elsewhere(directory, environ, extra):
        return None
    from interlock.onsite.finding import locate_state

    return locate_state(directory, environ, extra, tool=tool or tool_for(directory, environ), state=state)


def tool_for(directory: Path, environ: Mapping[str, str], terraform: str | None = None) -> Tool:
    """Return the program that would run a root module. It matters only where there are files that Terraform skips."""
    if not any(
        is_configuration(path.name) and not is_configuration(path.name, Tool.TERRAFORM) for path in _in(directory)
    ):
        return Tool.TERRAFORM
    from interlock.run.binary import find_binary, tool_of

    try:
        binary = find_binary(terraform or read_settings(environ, directory).terraform, environ)
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


def _in(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def _may_be_elsewhere(directory: Path, environ: Mapping[str, str], extra: Sequence[str]) -> bool:
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


def open_site_of(found: Found, directory: Path) -> AbstractAsyncContextManager[Site]:
    """Open a state that stays where it is, with its queue."""
    from interlock.onsite.site import open_site

    return open_site(found, directory.resolve(), clock=SystemClock(), ids=RandomIds())


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapAsked:
    """What `interlock bootstrap aws` was told; what is None comes from the root module's backend."""

    directory: Path
    bucket: str | None = None
    table: str | None = None
    no_table: bool = False
    region: str | None = None
    kms_key: str | None = None
    old_versions_days: int | None = None


def wanted_of(asked: BootstrapAsked, environ: Mapping[str, str]) -> tuple[Wanted, AwsAccess]:
    """Return the bucket and table that are to be, and how AWS is reached.

    Raises:
        UsageError: Nothing names the bucket or the region.
    """
    from interlock.disk import DiskTree
    from interlock.existing import Found
    from interlock.existing.bootstrap import OLD_VERSIONS_DAYS, Wanted
    from interlock.existing.discovery import find, from_environment
    from interlock.existing.s3 import access_of

    found = find(DiskTree(), str(asked.directory), environ)
    if found.type != "s3":
        given = from_environment("s3", environ)
        found = Found(type="s3", settings=given)
    bucket, region = asked.bucket or found.text("bucket"), asked.region or found.text("region")
    if bucket is None or region is None:
        raise UsageError(
            f"nothing names the {'bucket' if bucket is None else 'region'}",
            why=f'neither a flag nor a backend "s3" in {asked.directory}',
            fix="interlock bootstrap aws --bucket NAME --region REGION",
        )
    days = asked.old_versions_days
    wanted = Wanted(
        bucket=bucket,
        table=None if asked.no_table else asked.table or found.text("dynamodb_table"),
        region=region,
        kms_key=asked.kms_key or found.text("kms_key_id"),
        key=found.text("key") or "*",
        locks_in_bucket=found.is_true("use_lockfile"),
        workspace_prefix=found.text("workspace_key_prefix") or "env:",
        tls_only=not (found.text("endpoints.s3") or "").startswith("http:"),
        old_versions_days=OLD_VERSIONS_DAYS if days is None else days,
    )
    return wanted, replace(access_of(found), region=region)


def open_account(wanted: Wanted, access: AwsAccess) -> S3Account:
    """Return the hand that looks at bucket and table and changes them; close it afterwards."""
    from interlock.existing.bootstrap import S3Account

    return S3Account(access, clock=SystemClock(), ids=RandomIds(), bucket=wanted.bucket, table=wanted.table)


def sources_of(directory: Path) -> list[Path]:
    """Return the configuration files of a folder, of Terraform and OpenTofu."""
    return [path for path in directory.iterdir() if is_configuration(path.name) and path.is_file()]
