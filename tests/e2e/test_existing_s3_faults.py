"""Runs of the real Terraform on S3 while calls to AWS fail, once each and always: the end is right or has its code."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.s3_desk import BOTH, TABLE_ONLY, Proxy, Rule, S3Desk, proxied

from interlock.testing.aws import LocalAws

pytestmark = pytest.mark.e2e
INSTANT = 'variable "round" {\n  default = 1\n}\nresource "terraform_data" "kept" {\n  input = var.round\n}\n'
CALLS = (
    "GetItem queue",
    "PutItem queue",
    "TransactWriteItems",
    "GetItem lock",
    "PutItem lock",
    "DeleteItem lock",
    "GetItem digest",
    "PutItem digest",
    "GET state",
    "PUT state",
    "GET tflock",
    "PUT tflock",
    "DELETE tflock",
    "list",
)


class Places:
    """Desks, each behind a proxy of its own."""

    def __init__(self, folder: Path, aws: LocalAws, stack: ExitStack) -> None:
        self._folder = folder
        self._aws = aws
        self._stack = stack

    def place(self, name: str) -> tuple[S3Desk, Proxy]:
        proxy = self._stack.enter_context(proxied(self._aws))
        desk = S3Desk(self._folder / name, self._aws, url=proxy.url, lease=("2s", "0.5s"))
        self._stack.callback(desk.close)
        return desk, proxy


@pytest.fixture
def places(tmp_path: Path, aws: LocalAws) -> Iterator[Places]:
    with ExitStack() as stack:
        yield Places(tmp_path, aws, stack)


@pytest.mark.promise("P3", "P8")
@pytest.mark.parametrize(
    "fate", ["lose", *(pytest.param(fate, marks=pytest.mark.slow) for fate in ("throttle", "late"))]
)  # each call dropped: tests/unit/site/test_existing_access.py
def test_every_kind_of_call_may_go_wrong_once_in_one_run(places: Places, fate: str) -> None:
    desk, proxy = places.place("once")
    module = desk.root(BOTH, text=INSTANT)
    proxy.rules = [Rule(call, fate) for call in CALLS]
    applied = desk.run("apply", module, "--auto-approve")
    assert applied.code == 0, applied.err
    struck = {rule.call for rule in proxy.rules if rule.hit}
    assert struck >= set(CALLS) - {"GET tflock", "GetItem lock"}, f"some kinds of calls were never made: {proxy.seen}"
    assert desk.terraform_locks() == []
    assert desk.queue() == []
    assert desk.plain(module, "plan", "-detailed-exitcode").code == 0


@pytest.mark.slow
@pytest.mark.promise("P8")
def test_what_always_fails_ends_with_its_code_and_strands_nothing_for_longer_than_a_lease(places: Places) -> None:
    throttled, first = places.place("throttled")
    unsaved, second = places.place("unsaved")
    unlocked, third = places.place("unlocked")
    undigested, fourth = places.place("undigested")
    modules = {desk: desk.root(TABLE_ONLY, text=INSTANT) for desk in (throttled, unsaved, unlocked, undigested)}
    for desk in (unsaved, undigested):
        assert desk.run("apply", modules[desk], "--auto-approve").code == 0
    first.rules = [Rule("PutItem lock", "throttle", None)]
    second.rules = [Rule("PUT state", "fail", None)]
    third.rules = [Rule("DeleteItem lock", "fail", None)]
    fourth.rules = [Rule("PutItem digest", "fail", None, client="APN/")]
    flags = ("--auto-approve", "--", "-var=round=2")
    started = {desk: desk.start("apply", module, *flags) for desk, module in modules.items()}

    ended = started[throttled].wait()
    assert ended.code == 30, ended.err
    assert "billing mode PAY_PER_REQUEST" in ended.err
    assert "ThrottlingException" in ended.err
    assert throttled.terraform_locks() == []

    ended = started[undigested].wait()
    assert ended.code == 0, ended.err
    assert "the digest" in ended.err
    assert undigested.plain(modules[undigested], "plan", "-detailed-exitcode", "-var=round=2").code == 0

    ended = started[unsaved].wait()
    assert ended.code == 131, ended.err
    kept = next(unsaved.home.rglob("errored.tfstate"))
    assert str(kept) in ended.err
    assert unsaved.terraform_locks() == []
    second.rules = []
    assert unsaved.run("apply", modules[unsaved], *flags).code == 0

    ended = started[unlocked].wait()
    assert ended.code == 0, ended.err
    assert "could not be given back" in ended.err
    assert len(unlocked.terraform_locks()) == 1
    third.rules = []
    began_s = time.monotonic()
    following = unlocked.run("apply", modules[unlocked], *flags)
    assert following.code == 0, following.err
    assert time.monotonic() - began_s < 30, "the lock stayed for much longer than the lease of 2 s"
    assert unlocked.terraform_locks() == []
