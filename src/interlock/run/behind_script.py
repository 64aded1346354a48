"""The Terraform that a script starts as its child, as the wrapper of GitHub's setup action does. A hand.

A signal to such a script ends it at once, or when its child has ended. Either way Terraform hears nothing of it, and in
the first case nobody waits for it any more. So a wish to stop goes to the Terraform, and the script ends with it.
"""

from __future__ import annotations

from interlock.host import ProcessName, ancestors, group_members, name_process
from interlock.recovery.witnesses.running import Role, Running, can_list, pids, read_process


def terraform_behind(process: ProcessName) -> ProcessName:
    """Return the Terraform that a started process leads to: mostly the process itself.

    A program that has Terraform's name and starts another one with the same arguments only leads there, too. What
    Terraform itself starts is none: a provisioner may have a Terraform of its own.
    """
    while (below := _below(process)) is not None:
        process = below
    return process


def find_left(group: int) -> bool:
    """Say whether a Terraform lives in the process group of a script that has ended."""
    return any(_is_terraform(pid) for pid in group_members(group) if pid != group)


def _below(process: ProcessName) -> ProcessName | None:
    if not can_list():
        return None
    own = read_process(process.pid)
    found = {pid: one for pid in _candidates(process.pid) if (one := read_process(pid)) and _leads_to(own, one)}
    outermost = [pid for pid in found if not any(above in found for above in ancestors(pid))]
    return name_process(outermost[0]) if len(outermost) == 1 else None


def _candidates(pid: int) -> list[int]:
    """Return the processes that a process started; by its group where it has ended."""
    group = set(group_members(pid))
    return [each for each in pids() if each != pid and (each in group or pid in ancestors(each))]


def _leads_to(own: Running | None, below: Running) -> bool:
    if below.role is not Role.TERRAFORM:
        return False
    return own is None or own.role is not Role.TERRAFORM or own.argv[1:] == below.argv[1:]


def _is_terraform(pid: int) -> bool:
    found = read_process(pid)
    return found is not None and found.role is Role.TERRAFORM
