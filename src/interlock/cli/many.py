"""One command for several roots: their runs side by side, one report, one exit status.

Each run is an ordinary one, with a supervisor and a gateway of its own. This process follows all of them and prints
what they say entry by entry, so no two of them mix within a line or a plan.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from msgspec.structs import replace

from interlock.amounts import amount
from interlock.cli import view
from interlock.cli.follow import Follower
from interlock.errors import InterlockError, Interrupted, Terminated, UsageError
from interlock.operate.many import GOOD, Schedule, make_schedule, worst
from interlock.run.front_end import FrontEnd, Signals
from interlock.run.order import Operation
from interlock.run.spare import Spare

if TYPE_CHECKING:
    from interlock.dependencies.touched import Touched
    from interlock.operate.ordering import Asked
    from interlock.operate.roots import Roots
    from interlock.run.transcript import Entry
    from interlock.settings.values import Settings

_LOOK_S = 1.0  # a lost ring costs at most this much delay in what a person sees


class Choice(NamedTuple):
    """Which roots a command is for.

    Attributes:
        folders: Named folders; none for those of interlock.yaml.
        changed: The base since which a change is looked at, "" for the default branch; None for all roots.
        jobs: Most runs at once.
    """

    folders: tuple[Path, ...]
    changed: str | None
    jobs: int


class Conclusion(NamedTuple):
    """What a run came to.

    Attributes:
        exit: The exit status for this root.
        document: What `--json` says of it.
    """

    exit: int
    document: Mapping[str, object]


Conclude = Callable[["Entry", Path, "Asked", str], Conclusion]
"""Says how a run ended, for people where that was asked for: its last entry, its folder, what was asked, its root."""


@dataclass(slots=True)
class _Root:
    """A root on its way."""

    name: str
    folder: Path
    front: FrontEnd | None = None
    follower: Follower | None = None
    asked: Asked | None = None
    exit: int | None = None
    document: Mapping[str, object] = field(default_factory=dict)
    held_back_by: str = ""
    is_gone: bool = False
    """Its supervisor has closed its end."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The roots that a command works on, and why these.

    Attributes:
        roots: They.
        touched: Why a change touches each; None when nobody asked for a change.
        doubts: Reads of files that cannot be told.
        all_names: Every root that there is.
    """

    roots: Roots
    touched: Mapping[str, Touched] | None
    doubts: tuple[str, ...]
    all_names: tuple[str, ...]
    base: str = ""

    @property
    def untouched(self) -> tuple[str, ...]:
        """Roots that the change does not touch."""
        return tuple(name for name in self.all_names if name not in self.roots.names)


def choose(choice: Choice, settings: Settings, environ: Mapping[str, str], extra: tuple[str, ...] = ()) -> Chosen:
    """Read the roots, and choose those that a change touches where that is asked for.

    Raises:
        UsageError: There are none, one is not here, they need each other in a circle, or git cannot tell the change.
    """
    from interlock.operate.roots import read_roots, touched_by

    roots = read_roots(settings, environ, choice.folders, extra)
    _ = roots.waves  # a circle is refused before anything is done
    if choice.changed is None:
        return Chosen(roots=roots, touched=None, doubts=(), all_names=roots.names)
    from interlock.operate.changes import change_since

    change = change_since(settings.path.parent if settings.path else Path(), choice.changed or None, environ)
    touched, doubts = touched_by(roots, change, settings, extra)
    return Chosen(
        roots=roots.only(each.root for each in touched),
        touched={each.root: each for each in touched},
        doubts=doubts,
        all_names=roots.names,
        base=change.base,
    )


def run_many(asked: Asked, choice: Choice, conclude: Conclude, spare: Spare | None) -> int:
    """Run every chosen root, print the report, and return the exit status.

    Args:
        asked: What was typed, for each root.
        choice: Which roots.
        conclude: Says how one run ended.
        spare: A supervisor that was started meanwhile; None for none.

    Raises:
        UsageError: A flag is for one root only, or the roots cannot be told.
    """
    from interlock.compose.homes import settings_here

    _check_flags(asked)
    chosen = choose(choice, settings_here(os.environ), os.environ, asked.extra)
    for text in notes_of(chosen):
        view.note(text)
    return _Work(asked, chosen, choice.jobs, conclude, spare).run()


def _check_flags(asked: Asked) -> None:
    for name, value in (
        ("--state", asked.state),
        ("--out", asked.out),
        ("--plan", asked.plan_file),
    ):
        if value is not None:
            raise UsageError(
                f"{name} is for one root, and this command is for several",
                why="each root has a state and a plan of its own",
                fix=f"name one folder with {name}, and leave out --all and --changed",
            )


def notes_of(chosen: Chosen) -> list[str]:
    """Return what a person should know of the choice: what was not looked at, and why which root is touched."""
    texts = [
        f"{name} has no `directory` in interlock.yaml, so nothing is run for it" for name in chosen.roots.folderless
    ]
    for name, why in chosen.roots.unclear.items():
        texts += [f"{name}: {each}" for each in why if name in chosen.roots.names]
    if chosen.touched is None:
        return texts
    texts += [f"not looked at: {doubt}; list the file under `reads` in interlock.yaml" for doubt in chosen.doubts]
    if not chosen.touched:
        texts.append(f"nothing changed since {chosen.base} touches any of {amount(len(chosen.all_names), 'root')}")
    return texts + [f"{name} is touched: {'; '.join(each.why[:3])}" for name, each in chosen.touched.items()]


class _Work:
    """All runs of one command."""

    def __init__(self, asked: Asked, chosen: Chosen, jobs: int, conclude: Conclude, spare: Spare | None) -> None:
        self._asked = asked
        self._chosen = chosen
        self._conclude = conclude
        self._spare = spare
        names = [name for wave in chosen.roots.waves for name in wave]
        needs = () if asked.operation is Operation.DRIFT else [(need.root, need.on) for need in chosen.roots.needs]
        self._schedule: Schedule = make_schedule(names, needs, jobs=jobs, reverse=asked.operation is Operation.DESTROY)
        self._roots = {name: _Root(name, chosen.roots.folder(name)) for name in self._schedule.order}
        self._answers: TextIO | None = None
        self._asking: _Root | None = None

    def run(self) -> int:
        from interlock.cli.one_run import answers_for, with_missing_values

        self._answers = None if self._asked.operation is Operation.DRIFT else answers_for(self._asked)
        for root in self._roots.values():
            root.asked = with_missing_values(replace(self._asked, directory=root.folder), label=f"{root.name}: ")
        signals = Signals()
        try:
            self._loop(signals)
        finally:
            signals.give_back()
        return self._report(signals.heard)

    def _loop(self, signals: Signals) -> None:
        while True:
            for name in () if signals.heard else self._schedule.startable(self._running().keys(), self._ended()):
                self._start(self._roots[name], signals)
            running = self._running()
            if running:
                self._follow(list(running.values()))
            elif signals.heard or not self._schedule.startable(set(), self._ended()):
                return

    def _running(self) -> dict[str, _Root]:
        return {name: root for name, root in self._roots.items() if root.front is not None and root.exit is None}

    def _ended(self) -> dict[str, int]:
        return {name: root.exit for name, root in self._roots.items() if root.exit is not None}

    def _start(self, root: _Root, signals: Signals) -> None:
        from interlock.compose.ordering import checked_order

        assert root.asked is not None, "every root was asked about its variables"
        heard = len(signals.heard)
        say = lambda text: view.note(f"{root.name}: {text}")  # noqa: E731 - names the root
        try:
            order = checked_order(root.asked, os.environ, say)
            spare, self._spare = self._spare or Spare(os.environ), None
            with spare:
                root.front = spare.begin(order, signals=signals)
        except InterlockError as error:
            self._refused(root, error)
            return
        for word in signals.heard[heard:][-1:]:  # it came before the run could hear it
            root.front.say(word)
        root.front.watch()
        root.follower = Follower(
            root.front.folder,
            quiet=self._asked.json,
            brief=self._asked.brief,
            silent=self._asked.quiet,
            label=root.name,
        )

    def _refused(self, root: _Root, error: InterlockError) -> None:
        from interlock.cli.program import with_program

        told = with_program(error.naming(str(root.folder)), root.folder)
        view.note(f"{root.name}:")
        view.say_failure(told.code, told.what, told.why, told.fix)
        root.exit = error.exit_status
        root.document = {"error": view.failure_values(told)}

    # -- following ------------------------------------------------------------------------------------------------

    def _follow(self, running: list[_Root]) -> None:
        """Wait for news of any run, and show it; while a question stands, only that of the run that asks."""
        answers = self._answers if self._asking is not None else None
        heard = [root.front for root in running if root.front is not None and not root.is_gone]
        waits_s = 0.0 if self._asking is None and len(heard) < len(running) else _LOOK_S
        awaited: list[FrontEnd | TextIO] = [*heard, *([answers] if answers else [])]
        ready, _, _ = select.select(awaited, [], [], waits_s)
        if answers is not None and answers in ready and self._asking is not None and self._asking.front is not None:
            self._asking.front.answer(answers)
            self._asking = None
        for root in running:
            if root.front in ready and root.front is not None:
                root.is_gone = not root.front.hear()
            self._show(root)

    def _show(self, root: _Root) -> None:
        """Show what a run wrote down; what others say waits while a question stands."""
        assert root.front is not None, "it runs"
        assert root.follower is not None, "it runs"
        if self._asking not in (None, root):
            return
        end = root.front.news(root.follower.show)
        if end is None and root.is_gone:
            end = self._end_of_dead(root)
        if end is not None:
            self._finish(root, end)
        elif root.front.is_asking and self._answers is not None:
            self._asking = root

    def _end_of_dead(self, root: _Root) -> Entry | None:
        from interlock.cli.one_run import after_a_kill

        assert root.front is not None, "it ran"
        assert root.follower is not None, "it ran"
        try:
            return root.front.end_without_word(root.follower.show) or after_a_kill(root.front.folder)
        except InterlockError as error:
            self._refused(root, error)
            self._leave(root)
            return None

    def _finish(self, root: _Root, end: Entry) -> None:
        assert root.front is not None, "it ran"
        assert root.asked is not None, "it was ordered"
        self._leave(root)
        root.exit, root.document = self._conclude(end, root.front.folder, root.asked, root.name)

    def _leave(self, root: _Root) -> None:
        assert root.front is not None, "it ran"
        root.front.close()
        if self._asking is root:
            self._asking = None

    # -- the report -----------------------------------------------------------------------------------------------

    def _report(self, heard: list[str]) -> int:
        ended = self._ended()
        for name, because in self._schedule.held_back(ended).items():
            self._roots[name].held_back_by = because
        stopped = (Interrupted if heard[:1] == ["sigint"] else Terminated).exit_status
        left = any(root.exit is None for root in self._roots.values())
        status = worst([*ended.values(), *([stopped] if heard and left else [])])
        rows = [self._row(root) for root in self._roots.values()]
        if self._asked.json:
            view.print_json(self._document(status, rows))
        elif rows:
            view.table(
                ("ROOT", "RESULT", "EXIT", "RUN"),
                [(row["root"], row["text"], view.plain(row["exit"]), row["run_id"] or "-") for row in rows],
                empty="no roots",
            )
        return status

    def _row(self, root: _Root) -> dict[str, Any]:
        touched = (self._chosen.touched or {}).get(root.name)
        needs = [need for need in self._chosen.roots.needs if need.root == root.name]
        return {
            "root": root.name,
            "directory": str(root.folder),
            "outcome": self._outcome(root),
            "exit": root.exit,
            "held_back_by": root.held_back_by or None,
            "text": self._text(root),
            "run_id": root.front.folder.name if root.front is not None else None,
            "needs": [{"root": n.on, "reason": n.reason.value, "why": n.why} for n in needs],
            "touched": None if touched is None else {"why": touched.why, "through": touched.through},
            "pending_inputs": self._pending_inputs(root),
            "run": root.document,
        }

    def _outcome(self, root: _Root) -> str:
        if root.exit is None:
            return "held-back" if root.held_back_by else "not-started"
        return "done" if root.exit in GOOD else "failed"

    def _text(self, root: _Root) -> str:
        if root.exit is None:
            return f"not started: {root.held_back_by} failed" if root.held_back_by else "not started: stopped before"
        error = root.document.get("error")
        pending = self._pending_inputs(root)
        before = f", before {', '.join(pending)} is applied" if pending else ""
        if isinstance(error, Mapping):
            return f"failed: {error.get('code')}{before}"
        return f"{self._changes(root)}{before}"

    def _changes(self, root: _Root) -> str:
        counts = _counts(root)
        done = {"apply": "applied", "destroy": "destroyed", "plan": "planned"}.get(self._asked.operation.value, "done")
        if self._asked.operation is Operation.DRIFT:
            return str(root.document.get("told", "looked at"))
        if not any(counts.values()):
            return "no changes"
        return f"{done} +{counts['add']} ~{counts['change']} -{counts['remove']}"

    def _pending_inputs(self, root: _Root) -> list[str]:
        """Return the roots that this one's plan reads and whose own plan has changes that nobody has applied yet."""
        if self._asked.operation is not Operation.PLAN or root.exit is None:
            return []
        needed = [need.on for need in self._chosen.roots.needs if need.root == root.name]
        return sorted({name for name in needed if any(_counts(self._roots[name]).values())})

    def _document(self, status: int, rows: list[dict[str, Any]]) -> dict[str, object]:
        chosen = self._chosen
        shown = [{key: value for key, value in row.items() if key not in {"text", "run_id"}} for row in rows]
        return {
            "operation": self._asked.operation.value,
            "exit": status,
            "base": chosen.base or None,
            "roots": shown,
            "untouched": list(chosen.untouched),
            "without_directory": list(chosen.roots.folderless),
            "unclear": {name: list(why) for name, why in chosen.roots.unclear.items() if why},
            "doubts": list(chosen.doubts),
        }


def _counts(root: _Root) -> dict[str, int]:
    counts = root.document.get("counts")
    given = counts if isinstance(counts, Mapping) else {}
    return {name: int(given.get(name, 0)) for name in ("add", "change", "remove")}
