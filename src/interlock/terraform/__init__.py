"""What Terraform says and how to speak to it. Pure: nothing here starts a process."""

from interlock.terraform.command import (
    Command,
    HttpBackend,
    Options,
    Place,
    Verb,
    build_command,
    divide_flags,
    http_environment,
    merge_environment,
)
from interlock.terraform.events import AnyEvent, parse_event
from interlock.terraform.lockinfo import LockInfo, build_lock_info, find_lock_info, parse_lock_info, render_lock_info
from interlock.terraform.plan import PlanDocument, PlanFacts, gather_plan, parse_plan
from interlock.terraform.versions import ToolVersion, parse_version, parse_version_output

__all__ = [
    "AnyEvent",
    "Command",
    "HttpBackend",
    "LockInfo",
    "Options",
    "Place",
    "PlanDocument",
    "PlanFacts",
    "ToolVersion",
    "Verb",
    "build_command",
    "build_lock_info",
    "divide_flags",
    "find_lock_info",
    "gather_plan",
    "http_environment",
    "merge_environment",
    "parse_event",
    "parse_lock_info",
    "parse_plan",
    "parse_version",
    "parse_version_output",
    "render_lock_info",
]
