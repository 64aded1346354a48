"""Serves a simulated organisation in a process of its own: `python -m interlock.simulator --port 8080`.

Benchmarks want the organisation on another core than the clients. Prints one JSON line with the URL and the credentials
of the default client when it is ready; what changes while it runs goes through `/_control/`. It also serves several
organisations at one address, TLS, a recording of a real organisation, and makes such recordings.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from starlette.types import ASGIApp

from interlock.clock import SystemClock
from interlock.secrecy import environment_secrets, know_secrets

from .asgi import create_app, serve_app
from .certificate import Certificate, make_certificate
from .faults import FaultRule
from .limits import DEFAULT_LIMITS, Limit
from .oauth import LoginLimit, OAuthClient
from .org import Delays
from .recording import Recorder, Replay, read_recording
from .region import Region
from .simulation import DEFAULT_CLIENT, Simulation, Terms

MAX_ORGANISATIONS = 100


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    options = _parser().parse_args(arguments)
    _check(options)
    asyncio.run(_serve(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m interlock.simulator", description="A simulated organisation.")
    parser.add_argument("--port", type=int, default=0, help="loopback port; 0 takes a free one")
    parser.add_argument("--seed", type=int, default=1, help="ids, tokens and faults follow from it")
    parser.add_argument("--speed", type=float, default=1.0, help="windows, delays and jobs run this much faster")
    parser.add_argument("--token-life", type=float, default=86_400.0, help="seconds a token lives")
    parser.add_argument("--login-allowed", type=int, default=1000, help="token requests of a client in a minute")
    parser.add_argument("--read-delay", type=float, default=0.0, help="seconds until reads see a write")
    parser.add_argument("--list-delay", type=float, default=0.0, help="seconds until lists see a write")
    parser.add_argument("--limits", default="", help="JSON list of limits in place of the documented ones; [] for none")
    parser.add_argument("--faults", default="[]", help="JSON list of fault rules")
    parser.add_argument("--organisations", type=int, default=1, help="so many organisations, each with its own client")
    parser.add_argument("--tls", action="store_true", help="serve https with a certificate made for this start")
    parser.add_argument("--certificate", type=Path, help="serve https with this certificate chain (PEM)")
    parser.add_argument("--key", type=Path, help="its private key (PEM)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="answer as a recording says")
    parser.add_argument("--record", type=Path, metavar="FILE", help="pass calls on to a real organisation, and record")
    parser.add_argument(
        "--api-url", default="", help="of the organisation to record, such as https://api.mypurecloud.com"
    )
    parser.add_argument("--login-url", default="", help="such as https://login.mypurecloud.com")
    return parser


def _check(options: argparse.Namespace) -> None:
    """Refuse options that contradict each other."""
    if (options.certificate is None) != (options.key is None):
        raise SystemExit("--certificate and --key belong together")
    if options.replay is not None and options.record is not None:
        raise SystemExit("--replay and --record exclude each other")
    if options.record is not None and not (options.api_url and options.login_url):
        raise SystemExit("--record needs --api-url and --login-url of the organisation")
    if not 1 <= options.organisations <= MAX_ORGANISATIONS:
        raise SystemExit(f"--organisations must be from 1 to {MAX_ORGANISATIONS}")


def _terms(options: argparse.Namespace) -> Terms:
    try:
        limits = msgspec.json.decode(options.limits, type=list[Limit]) if options.limits else list(DEFAULT_LIMITS)
        faults = msgspec.json.decode(options.faults, type=list[FaultRule])
    except msgspec.MsgspecError as error:
        raise SystemExit(f"--limits or --faults is wrong: {error}") from error
    return Terms(
        seed=options.seed,
        clients=(replace(DEFAULT_CLIENT, token_life_s=options.token_life),),
        speed=options.speed,
        limits=tuple(limits),
        faults=tuple(faults),
        login_limit=LoginLimit(allowed=options.login_allowed),
        delays=Delays(read_s=options.read_delay, list_s=options.list_delay),
    )


def _organisations(options: argparse.Namespace) -> list[Simulation]:
    """Return the organisations: the first is the usual one, each has a seed and an OAuth client of its own."""
    terms = _terms(options)
    return [
        Simulation(replace(terms, seed=terms.seed + at, clients=(_client(terms.clients[0], at),)))
        for at in range(options.organisations)
    ]


def _client(client: OAuthClient, at: int) -> OAuthClient:
    return replace(client, id=f"{client.id[:-3]}{int(client.id[-3:]) + at:03d}")


@asynccontextmanager
async def _application(options: argparse.Namespace) -> AsyncIterator[tuple[ASGIApp, dict[str, Any]]]:
    """Open what is served, and yield it with what its user must know besides its address."""
    if options.record is not None:
        from .upstream import RecordingProxy

        recorder = Recorder(know_secrets(environment_secrets(os.environ)))
        async with RecordingProxy(options.api_url, options.login_url, options.record, recorder) as proxy:
            yield proxy, {"recording": str(options.record)}
    elif options.replay is not None:
        yield create_app(_replay(options.replay)), _credentials(DEFAULT_CLIENT)
    else:
        organisations = _organisations(options)
        clients = [each.terms.clients[0] for each in organisations]
        others = {"organisations": [_credentials(client) for client in clients]} if len(clients) > 1 else {}
        served = Region(organisations) if len(clients) > 1 else organisations[0]
        yield create_app(served), {**_credentials(clients[0]), **others}


def _credentials(client: OAuthClient) -> dict[str, Any]:
    return {"client_id": client.id, "client_secret": client.secret}


def _replay(path: Path) -> Replay:
    try:
        with path.open("rb") as lines:
            return Replay(read_recording(lines))
    except (OSError, ValueError) as error:
        raise SystemExit(f"--replay {path} cannot be read: {error}") from error


def _certificate(options: argparse.Namespace, folder: Path) -> Certificate | None:
    if options.certificate is not None:
        return Certificate(chain=options.certificate, key=options.key)
    return make_certificate(folder, SystemClock().now()) if options.tls else None


async def _serve(options: argparse.Namespace) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    with tempfile.TemporaryDirectory(prefix="interlock-simulator-") as folder:
        certificate = _certificate(options, Path(folder))
        async with (
            _application(options) as (app, facts),
            serve_app(app, port=options.port, certificate=certificate) as port,
        ):
            scheme, trusted = (
                ("http", {}) if certificate is None else ("https", {"certificate": str(certificate.chain)})
            )
            ready = {"url": f"{scheme}://127.0.0.1:{port}", **facts, **trusted}
            sys.stdout.write(msgspec.json.encode(ready).decode() + "\n")
            sys.stdout.flush()
            await ended.wait()


if __name__ == "__main__":
    main()
