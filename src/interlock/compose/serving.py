"""`interlock serve`: the state backend for plain Terraform."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from interlock.clock import SystemClock
from interlock.errors import UsageError
from interlock.home.embedded import open_home, read_settings
from interlock.ids import RandomIds
from interlock.listening.strangers import is_loopback
from interlock.settings.values import Settings
from interlock.trust.ownership import make_folder
from interlock.trust.secret_file import check_strength, making_command, read_secret_file, write_secret_file

_PORT_MAX = 65_535
_ANOTHER = "env -u INTERLOCK_TOKEN interlock serve    makes a good one"


def serve(listen: str, token_file: str | None, names: Sequence[str], say: Callable[[str], None]) -> None:
    """Serve the state backend until SIGINT, SIGTERM or SIGHUP; `names` are those by which clients address it."""
    import uvloop

    uvloop.run(_serve(listen, token_file, names, say))


async def _serve(listen: str, token_file: str | None, names: Sequence[str], say: Callable[[str], None]) -> None:
    from interlock.backend.asgi import SingleToken, create_app
    from interlock.backend.serving import serving
    from interlock.listening.ending import Ending

    ending = Ending()
    settings = read_settings()
    host, port = parse_listen(listen)
    token, where = _server_token(settings, token_file)
    async with open_home(settings) as home:
        await home.store.keep_room()
        app = create_app(
            home.coordinator,
            home.archive,
            clock=SystemClock(),
            ids=RandomIds(),
            tokens=SingleToken(token),
        )
        async with serving(app, host=host, port=port, names=names) as (_, bound):
            say(f"serving states on http://{host}:{bound}/state/NAME, token in {where}; Ctrl-C ends it")
            if not is_loopback(host):
                say("token and states cross the network in clear: let a proxy with TLS stand before this address")
            await ending.wait()


def parse_listen(text: str) -> tuple[str, int]:
    """Read `HOST:PORT`, `[::1]:PORT` or `PORT` (loopback).

    Raises:
        UsageError: It is not an address.
    """
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > _PORT_MAX:
        raise UsageError(f"{text!r} is not an address to listen on", fix="write it like 127.0.0.1:8650")
    return host.strip("[]") or "127.0.0.1", int(port)


def _server_token(settings: Settings, token_file: str | None) -> tuple[str, str]:
    """Return the server's token and where a client finds it; a new one is written to a private file."""
    if token_file is None and settings.token is not None:
        return check_strength(settings.token.value, what="INTERLOCK_TOKEN", fix=_ANOTHER), "INTERLOCK_TOKEN"
    path = Path(token_file) if token_file else settings.home / "server-token"
    if token_file is None and not path.exists():
        make_folder(path.parent)
        write_secret_file(path, RandomIds().secret())
    token = read_secret_file(path, what="the file with the server's token")
    return check_strength(token, what=f"the token in {path}", fix=making_command(path)), str(path)
