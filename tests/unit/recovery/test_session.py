from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from interlock.existing import TerraformLock
from interlock.recovery import Says
from interlock.recovery.witnesses import session
from interlock.recovery.witnesses.running import Role, Running
from interlock.recovery.witnesses.session import find_inode, judge_owners

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ROWS = [
    "   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1 0",
    "   1: 0100007F:C350 0100007F:1538 01 00000000:00000000 00:00000000 00000000     0        0 200 1 0",
    "   2: 0100007F:C350 0100007F:0050 01 00000000:00000000 00:00000000 00000000     0        0 300 1 0",
    "   3: 0000000000000000FFFF00000100007F:C351 0000000000000000FFFF00000100007F:1538 01 0:0 00:0 0 0 0 400 1 0",
    "   4: 00000000000000000000000001000000:C352 00000000000000000000000001000000:1538 01 0:0 00:0 0 0 0 500 1 0",
    "half a row",
]
needs_proc = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="there is no /proc/net/tcp to read here")


@pytest.mark.parametrize(
    ("address", "port", "inode"),
    [("127.0.0.1", 50000, 200), ("127.0.0.1", 50001, 400), ("::1", 50002, 500), ("127.0.0.1", 5432, None)],
)
def test_a_connection_is_found_by_both_of_its_ends(address: str, port: int, inode: int | None) -> None:
    if socket.htonl(1) == 1:
        pytest.skip("the rows are those of a little-endian machine")
    assert find_inode(ROWS, ip_address(address), port, 5432) == inode


def terraform(**more: Any) -> Running:
    usual: dict[str, Any] = {
        "pid": 42,
        "role": Role.TERRAFORM,
        "argv": ("terraform", "apply"),
        "folder": None,
        "started_at": None,
    }
    return Running(**{**usual, **more})


@pytest.mark.promise("P5")
def test_only_a_terraform_that_has_the_connection_is_the_holder_and_nothing_proves_it_gone() -> None:
    where = "127.0.0.1:50000"
    assert judge_owners(where, [terraform()])[0] is Says.ALIVE
    assert judge_owners(where, [None, terraform(is_stopped=True)])[0] is Says.ALIVE
    assert judge_owners(where, [None])[:1] == (Says.NOTHING,)
    assert "proxy" in judge_owners(where, [None])[1]
    assert judge_owners(where, [])[0] is Says.NOTHING
    assert judge_owners(where, [terraform(role=Role.PROVIDER)])[0] is Says.NOTHING


@pytest.fixture
def connection() -> Iterator[tuple[str, int, int]]:
    """A connection that this process, which is not a Terraform, has to a server."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        yield (*client.getsockname(), server.getsockname()[1])


@needs_proc
@pytest.mark.promise("P5")
def test_a_connection_that_no_process_of_this_host_has_proves_nothing(connection: tuple[str, int, int]) -> None:
    address, port, server_port = connection
    elsewhere = TerraformLock(id="1", mechanism="pg", client=(address, port, server_port + 1))
    found = session.collect(elsewhere, now=NOW)
    assert (found.says, "behind a proxy" in found.text) == (Says.NOTHING, True)


def test_a_session_through_a_socket_of_the_servers_machine_proves_nothing() -> None:
    assert session.collect(TerraformLock(id="1", mechanism="pg"), now=NOW).says is Says.NOTHING
