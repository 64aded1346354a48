"""Lists as `queue ls` and `runs ls` show them, for command lines that need no parser: the same values, the same views.

To import Typer and asyncio and to build the commands takes two thirds of a list's time. A command line of a few plain
words is met here; every other one, and whatever is not as usual, is left to the commands themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from interlock.errors import InterlockError


def answer(words: Sequence[str]) -> bool:
    """Print what a command line asks for; False where that is for its command to do."""
    work = _LISTS.get(tuple(words[:2]))
    if work is None or list(words[2:]) not in ([], ["--json"]):
        return False
    return work("--json" in words)


def _queues(json: bool) -> bool:
    from interlock.cli.queue_view import show_queues
    from interlock.clock import SystemClock
    from interlock.compose.homes import settings_here
    from interlock.home.look import look_at_queues
    from interlock.operate.queue_seen import Queue, is_listed

    clock, settings = SystemClock(), settings_here(os.environ)
    if settings.server is not None:
        return False
    now = clock.now()
    try:
        views, known = look_at_queues(settings, clock)
    except InterlockError:  # the command meets it too, and mends or tells it
        return False
    if any(is_listed(each, now) for each in known):  # those are elsewhere, and asked all at once
        return False
    if set(settings.states) - {view.state for view in views}:  # roots of interlock.yaml that must be found first
        return False
    show_queues([Queue(state=view.state, view=view) for view in views], now, json=json)
    return True


def _runs(json: bool) -> bool:
    from interlock.cli.runs_view import RUNS_LISTED, show_runs
    from interlock.compose.homes import settings_here
    from interlock.run.summary import recent

    settings = settings_here(os.environ)
    if settings.server is not None:
        return False
    show_runs(recent(settings.runs, limit=RUNS_LISTED), json=json)
    return True


_LISTS: dict[tuple[str, ...], Callable[[bool], bool]] = {("queue", "ls"): _queues, ("runs", "ls"): _runs}
