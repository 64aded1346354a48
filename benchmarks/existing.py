"""Runs on `backend "s3"` with a DynamoDB table: eight at once, beside eight by hand and eight with -lock-timeout.

Against moto on this machine with the real Terraform. By hand means one plain `terraform apply` after the other, with
nobody waiting in between, which is the best that a person can do.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

from tests.desk import Started
from tests.s3_desk import LOCKFILE_ONLY, TABLE_ONLY, Proxy, S3Desk, proxied

from benchmarks import Row, compared
from interlock.testing.aws import local_aws

RUNS = 8
HOLD_S = 3.0
WAIT_S = 30.0
DEFAULT_PACE = ("", "")  # the lease and heartbeat that a run on S3 has by itself


def measure() -> list[Row]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        aws = stack.enter_context(local_aws())
        desk = S3Desk(folder / "eight", aws, lease=DEFAULT_PACE)
        stack.callback(desk.close)
        rows = [*_eight(desk, TABLE_ONLY), *_eight(S3Desk(folder / "eight-s3", aws, lease=DEFAULT_PACE), LOCKFILE_ONLY)]
        for locking in (TABLE_ONLY, LOCKFILE_ONLY):
            proxy = stack.enter_context(proxied(aws))
            rows.append(_requests(S3Desk(folder / f"wait-{locking}", aws, lease=DEFAULT_PACE), locking, proxy))
        return rows


def _eight(desk: S3Desk, locking: str) -> list[Row]:
    module = desk.root(locking)
    _all(desk.apply_here(module, round_=0))
    began_s = time.monotonic()
    for number in range(RUNS):
        _all(_plain(desk, module, f"hand{number}"))
    by_hand_s = time.monotonic() - began_s

    polling = _polling(desk, module, by_hand_s) if locking == TABLE_ONLY else []

    began_s = time.monotonic()
    _all(*(desk.apply_here(module, hold=HOLD_S, round_=number) for number in range(1, RUNS + 1)))
    together_s = time.monotonic() - began_s
    holds = sorted((run.held_at, run.released_at) for run in desk.runs()[1:] if run.held_at and run.released_at)
    pauses = [(after[0] - before[1]).total_seconds() for before, after in pairwise(holds)]
    where = "DynamoDB" if locking == TABLE_ONLY else "S3 alone"
    return [
        compared(
            f"{where}: {RUNS} runs at once", together_s, "s", baseline=by_hand_s, aim="at most 1.12 of eight by hand"
        ),
        *polling,
        Row(name=f"{where}: hand-over, median", value=statistics.median(pauses), unit="s", aim="below 0.5"),
        Row(name=f"{where}: hand-over, longest", value=max(pauses), unit="s"),
    ]


def _polling(desk: S3Desk, module: Path, by_hand_s: float) -> list[Row]:
    """Let plain Terraform wait by itself. One that finds the lock gone while it asks whose it is gives up at once."""
    began_s = time.monotonic()
    started = [_plain(desk, module, f"poll{number}", "-lock-timeout=600s") for number in range(RUNS)]
    failed = sum(each.wait().code != 0 for each in started)
    took_s = time.monotonic() - began_s
    return [
        compared("plain terraform -lock-timeout, eight at once", took_s, "s", baseline=by_hand_s),
        Row(name="plain terraform -lock-timeout: failed", value=failed, unit="of 8"),
    ]


def _plain(desk: S3Desk, module: Path, round_: str, *words: str) -> Started:
    number = sum(map(ord, round_))
    return desk.start_plain(module, "apply", "-auto-approve", *words, f"-var=hold={HOLD_S}", f"-var=round={number}")


def _all(*started: Started) -> None:
    for each in started:
        answer = each.wait()
        assert answer.code == 0, answer.err


def _requests(desk: S3Desk, locking: str, proxy: Proxy) -> Row:
    """Count what one waiter asks while somebody else holds and beats."""
    module = desk.root(locking)
    held = desk.apply_here(module, hold=WAIT_S + 10)
    desk.until_working()
    desk.url = proxy.url
    waiting = desk.apply_here(desk.root(locking, name="waiter"), round_=2)
    desk.until_waiting()
    before = proxy.seen.total()
    time.sleep(WAIT_S)
    count = proxy.seen.total() - before
    _all(held, waiting)
    where = "DynamoDB" if locking == TABLE_ONLY else "S3 alone"
    return Row(
        name=f"{where}: requests of the next in line", value=count * 60 / WAIT_S, unit="a minute", aim="below 300"
    )
