"""Who on this machine has the database connection through which a lock is held? For PostgreSQL's advisory locks.

Can prove: that the holder is alive, when a Terraform of this machine has that very connection: the kernel's list of
sockets names it by both ends, and the process that has it open.
Cannot prove: that the holder is gone. PostgreSQL frees the lock when the session ends, so whoever has the connection
is there; and an address says nothing of where. Behind an SSH tunnel, a bastion, a cloud proxy or PgBouncer every client
is 127.0.0.1, and the process that has the connection then is the proxy, whose own client may be anywhere.
Source: proc(5), /proc/net/tcp.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from interlock.errors import THIS_STATE, command
from interlock.existing import TerraformLock
from interlock.recovery.evidence import Evidence, Says
from interlock.recovery.witnesses import running
from interlock.recovery.witnesses.running import Role

_PROC = Path("/proc")
_TABLES = ("net/tcp", "net/tcp6")
_LOCAL_FIELD, _REMOTE_FIELD, _INODE_FIELD = 1, 2, 9
_WORD_HEX = 8  # digits of one 32-bit word, in the byte order of this machine

Address = IPv4Address | IPv6Address


def collect(held: TerraformLock, *, now: datetime) -> Evidence:
    """Look for the process of this machine that has the connection of a lock's session."""
    says, text, how_to = _look(held)
    return Evidence(
        witness="process", says=says, text=text, source="sockets of this host", observed_at=now, how_to=how_to
    )


def _look(held: TerraformLock) -> tuple[Says, str, str]:
    if held.client is None:
        return Says.NOTHING, "its session comes through a socket of the server's machine, which names no process", _HOW
    address, port, server_port = held.client
    where = f"{address}:{port}"
    try:
        rows = [line for name in _TABLES for line in (_PROC / name).read_text(encoding="utf-8").splitlines()[1:]]
    except OSError:
        return Says.NOTHING, f"its client is {where}, and the connections of this host cannot be seen", _HOW
    inode = find_inode(rows, ip_address(address), port, server_port)
    if inode is None:
        text = f"no process of this host has its connection from {where}: the client is elsewhere, or behind a proxy"
        return Says.NOTHING, text, _HOW
    return judge_owners(where, [running.read_process(pid) for pid in _owners(inode)])


_HOW = "look where the client really runs (behind the tunnel, bastion or pooler); if it is a CI job, name it: --job URL"


def judge_owners(where: str, owners: Iterable[running.Running | None]) -> tuple[Says, str, str]:
    """Return what the processes that have a connection open say of its session. Pure.

    Args:
        where: The connection, for people.
        owners: Each process, or None for one that is not Terraform.
    """
    found = list(owners)
    for owner in found:
        if owner is not None and owner.role is Role.TERRAFORM:
            state = " but stopped (SIGSTOP or a debugger)" if owner.is_stopped else ""
            return Says.ALIVE, f"process {owner.pid} ({owner.words}) has its connection from {where}, alive{state}", ""
    if not found:
        text = f"its connection from {where} is of this host, and no process that we may see has it"
        return Says.NOTHING, text, f"as root, outside of containers: {command('lock', 'explain', THIS_STATE)}"
    text = f"its connection from {where} belongs to a program of this host that is not Terraform: a tunnel or a proxy"
    return Says.NOTHING, text, _HOW


def find_inode(rows: Iterable[str], address: Address, port: int, server_port: int) -> int | None:
    """Return the inode of the socket whose own end is `address`:`port`, towards `server_port`. Pure.

    Args:
        rows: Lines of /proc/net/tcp and tcp6.
        address: The client's, as the server sees it.
        port: Likewise.
        server_port: The server's own.
    """
    for row in rows:
        fields = row.split()
        if len(fields) <= _INODE_FIELD:
            continue
        local, remote = _end(fields[_LOCAL_FIELD]), _end(fields[_REMOTE_FIELD])
        if local == (_plain(address), port) and remote[1] == server_port:
            return int(fields[_INODE_FIELD])
    return None


def _end(text: str) -> tuple[Address, int]:
    """Read `0100007F:1538`: words in this machine's byte order, the port in the network's."""
    host, _, port = text.partition(":")
    words = [host[start : start + _WORD_HEX] for start in range(0, len(host), _WORD_HEX)]
    packed = b"".join(socket.htonl(int(word, 16)).to_bytes(4) if _IS_LITTLE else bytes.fromhex(word) for word in words)
    return _plain(ip_address(packed)), int(port, 16)


_IS_LITTLE = socket.htonl(1) != 1


def _plain(address: Address) -> Address:
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _owners(inode: int) -> Iterator[int]:
    link = f"socket:[{inode}]"
    for pid in (os.getpid(), *running.pids()):
        try:
            if any(str(entry.readlink()) == link for entry in (_PROC / str(pid) / "fd").iterdir()):
                yield pid
        except OSError:
            continue
