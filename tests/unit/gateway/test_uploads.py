from __future__ import annotations

import pytest

from interlock.gateway.uploads import HOSTS_MAX, Target, Uploaded, counted, may_tunnel, parse_connect


def test_a_connect_line_is_read() -> None:
    assert parse_connect(b"CONNECT Apps.mypurecloud.de:443 HTTP/1.1\r\nHost: x\r\n\r\n") == Target(
        host="apps.mypurecloud.de", port=443
    )


@pytest.mark.parametrize(
    "head",
    [
        b"GET http://apps.mypurecloud.de/ HTTP/1.1\r\n\r\n",
        b"CONNECT [::1]:443 HTTP/1.1\r\n\r\n",
        b"CONNECT a b:443 HTTP/1.1\r\n\r\n",
        b"CONNECT host HTTP/1.1\r\n\r\n",
        b"",
    ],
)
def test_anything_else_is_not_tunnelled(head: bytes) -> None:
    assert parse_connect(head) is None


@pytest.mark.parametrize(
    ("host", "port", "may"),
    [
        ("apps.mypurecloud.de", 443, True),
        ("api.mypurecloud.de", 443, True),
        ("bucket.s3.eu-central-1.amazonaws.com", 443, True),
        ("apps.mypurecloud.de", 22, False),
        ("evilmypurecloud.de", 443, False),
        ("apps.mypurecloud.de.evil.example", 443, False),
        ("169.254.169.254", 443, False),
        ("127.0.0.1", 443, False),
    ],
)
def test_only_genesys_clouds_own_hosts_and_its_storage_are_reached(host: str, port: int, *, may: bool) -> None:
    assert may_tunnel(Target(host=host, port=port), domain="mypurecloud.de") is may


def test_hosts_are_counted_up_to_a_number() -> None:
    uploads: dict[str, Uploaded] = {}
    for number in range(HOSTS_MAX + 5):
        counted(uploads, f"h{number}", connections=1, up_bytes=10)
    counted(uploads, "h0", down_bytes=3)
    assert uploads["h0"] == Uploaded(connections=1, up_bytes=10, down_bytes=3)
    assert uploads["(others)"].connections == 5
