"""Serves a simulated organisation in a process of its own: `python -m interlock.simulator --port 8080`.

Benchmarks want the organisation on another core than the clients. Prints one JSON line with the URL and the credentials
of the default client when it is ready; what changes while it runs goes through `/_control/`.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from dataclasses import replace

import msgspec

from .asgi import serve
from .faults import FaultRule
from .limits import DEFAULT_LIMITS, Limit
from .oauth import LoginLimit
from .org import Delays
from .simulation import DEFAULT_CLIENT, Simulation, Terms


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    options = _parser().parse_args(arguments)
    asyncio.run(_serve(_terms(options), options.port))


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
    return parser


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


async def _serve(terms: Terms, port: int) -> None:
    simulation = Simulation(terms)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with serve(simulation, port=port) as served:
        ready = {"url": served.url, "client_id": DEFAULT_CLIENT.id, "client_secret": DEFAULT_CLIENT.secret}
        sys.stdout.write(msgspec.json.encode(ready).decode() + "\n")
        sys.stdout.flush()
        await ended.wait()


if __name__ == "__main__":
    main()
