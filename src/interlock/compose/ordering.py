"""A run, ordered: settings read, the order checked, and handed to a supervisor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from interlock.clock import SystemClock
from interlock.home.embedded import read_settings
from interlock.ids import RandomIds
from interlock.operate.ordering import Asked, make_order, root_module

if TYPE_CHECKING:
    from interlock.run.front_end import FrontEnd
    from interlock.run.order import Order
    from interlock.run.spare import Spare


def order_run(
    asked: Asked,
    environ: Mapping[str, str],
    spare: Spare | None = None,
    *,
    say: Callable[[str], None],
    files: Sequence[int] = (),
) -> FrontEnd:
    """Check what can be checked before anything starts, and hand the order to the spare supervisor, or to a new one.

    Args:
        asked: What was typed.
        environ: The environment of the run.
        spare: A supervisor that was started meanwhile; None to start one.
        say: Tells the person something before anything runs.
        files: Open files for a command that only reads; see `Spare.begin`.

    Raises:
        UsageError: The folder, a flag or a setting is wrong, or the configuration uses a backend that is not supported.
    """
    from interlock.run.spare import Spare

    with spare or Spare(environ) as supervisor:
        return supervisor.begin(checked_order(asked, environ, say), files)


def checked_order(asked: Asked, environ: Mapping[str, str], say: Callable[[str], None]) -> Order:
    """Return the order with the settings that hold in its root module; see `order_run`."""
    directory = root_module(asked.directory)
    settings = read_settings(environ, directory, terraform=asked.terraform)
    run = RandomIds().run(SystemClock().now())
    return make_order(asked, directory, settings, environ, run=run, say=say)
