"""The API gateway: (a) eight contending runs with and without it, (b) against nginx, (c) a drift scan beside an apply.

The simulated organisation runs 20 times faster than the real one and has its real limit, 300 requests a minute for each
token. Organisation, gateway and load are three processes on this machine. The load is bounded: `WORKERS` workers a run,
each waits for its answer, and opens a connection per request as the provider's SDK does.

In (a) both sides have the same four tokens. Without the gateway two pipelines share each token (an access token handed
to both) and every worker behaves like the Go SDK: it waits out a Retry-After, at most 20 times.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from benchmarks import Row, compared

SPEED = 20.0
ALLOWED, WINDOW_S = 300, 60.0 / SPEED
TOKENS = 4
RUNS, RESOURCES, WORKERS = 8, 200, 50
FAIR_TOKENS, FAIR_RESOURCES = 1, 200  # a rate that a busy machine carries too, so that only the budget is shared
ATTEMPTS = 21  # of the Go SDK
LATENCY_CALLS, THROUGHPUT_CALLS, CLIENTS = 400, 2400, 16
BODY = '{"id":"4fa8a1a0-1c1f-4f0e-8f4a-0a1b2c3d4e5f","name":"Sales","state":"active","version":1}'
_ID, _SECRET = "11111111-1111-4111-a111-111111111111", "simulated-secret"  # of the simulated organisation
_START_S = 30.0


def measure() -> list[Row]:
    return [*_contended(), *_against_nginx(), *_fair()]


# Eight contending runs


@dataclass(slots=True)
class Run:
    """One pipeline: where it calls, and what became of it."""

    url: str
    headers: dict[str, str]
    name: str
    seen: Counter[int] = field(default_factory=Counter)
    failed: bool = False
    resources: int = RESOURCES
    workers: int = WORKERS


async def _drive(runs: list[Run]) -> float:
    """Let every run create its resources; return the seconds until the last one is done."""
    start = time.perf_counter()
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=16)) as client:
        await asyncio.gather(*(_run(client, each) for each in runs))
    return time.perf_counter() - start


async def _run(client: aiohttp.ClientSession, run: Run) -> None:
    numbers = iter(range(run.resources))

    async def worker() -> None:
        for number in numbers:
            await _resource(client, run, f"{run.name}-{number}")

    await asyncio.gather(*(worker() for _ in range(run.workers)))


async def _resource(client: aiohttp.ClientSession, run: Run, name: str) -> None:
    """Four calls: create, read back, update, read back."""
    document = {"name": name, "division": {"id": "*"}}
    made = await _call(client, run, "POST", "/api/v2/routing/wrapupcodes", document)
    one = f"/api/v2/routing/wrapupcodes/{made.get('id')}"
    for method, body in (("GET", None), ("PUT", document | {"description": "changed"}), ("GET", None)):
        await _call(client, run, method, one, body)


async def _call(client: aiohttp.ClientSession, run: Run, method: str, path: str, body: object) -> dict[str, object]:
    for attempt in range(ATTEMPTS):
        try:
            async with client.request(method, run.url + path, json=body, headers=run.headers) as answer:
                document = await answer.json(content_type=None)
                run.seen[answer.status] += 1
                wait_s = float(answer.headers.get("Retry-After", min(2.0**attempt, 30.0)))
                if answer.status not in {429, 500, 502, 503, 504}:
                    run.failed = run.failed or answer.status >= 400
                    return document if isinstance(document, dict) else {}
        except (aiohttp.ClientError, TimeoutError):
            run.seen[0] += 1
            wait_s = min(2.0**attempt, 30.0)
        await asyncio.sleep(wait_s)
    run.failed = True
    return {}


def _contended() -> list[Row]:
    with _organisation() as organisation:
        tokens = asyncio.run(_mint(organisation))
        bearers = [{"Authorization": f"Bearer {tokens[number % TOKENS]}"} for number in range(RUNS)]
        plain = [Run(organisation, bearers[number], f"p{number}") for number in range(RUNS)]
        plain_s = asyncio.run(_drive(plain))
        plain_at, plain_429 = _journal(organisation)
    with _organisation() as organisation, _gateway(organisation, {f"r{n}": "APPLY" for n in range(RUNS)}) as prefixes:
        ours = [Run(prefixes[f"r{number}"], {}, f"g{number}") for number in range(RUNS)]
        asyncio.run(_drive([Run(prefixes["r0"], {}, "warm", resources=100)]))  # so that all four tokens stand ready
        time.sleep(WINDOW_S)
        before = len(_journal(organisation)[0])
        ours_s = asyncio.run(_drive(ours))
        ours_at, ours_429 = _journal(organisation)
    calls = RUNS * RESOURCES * 4
    share, plain_share = _share(ours_at[before:]), _share(plain_at)
    return [
        _beside("8 runs: failed runs", _failed(ours), _failed(plain), "runs", aim="0"),
        _beside("8 runs: 429s seen by clients", _seen(ours, 429), _seen(plain, 429), "answers"),
        _beside("8 runs: 429s of the organisation", 100 * ours_429 / calls, 100 * plain_429 / calls, "%", aim="0.1 %"),
        _beside("8 runs: share of the allowed rate", 100 * share, 100 * plain_share, "%", aim="at least 95 %"),
        compared("8 runs: time to finish", ours_s, "s", baseline=plain_s),
    ]


def _beside(name: str, value: float, baseline: float, unit: str, *, aim: str = "") -> Row:
    return Row(name=name, value=value, unit=unit, baseline=baseline, aim=aim)


def _failed(runs: list[Run]) -> int:
    return sum(1 for run in runs if run.failed)


def _seen(runs: list[Run], status: int) -> int:
    return sum(run.seen[status] for run in runs)


def _share(at: list[float]) -> float:
    """Return the share of the allowed rate over all whole windows of the work, the first and the last left out."""
    begin, end = at[0] + WINDOW_S, at[-1] - WINDOW_S
    windows = int((end - begin) / WINDOW_S)
    inside = sum(1 for each in at if begin <= each < begin + windows * WINDOW_S)
    return inside / (windows * ALLOWED * TOKENS) if windows else 0.0


async def _mint(url: str) -> list[str]:
    auth = {"Authorization": aiohttp.encode_basic_auth(_ID, _SECRET)}
    async with aiohttp.ClientSession(headers=auth) as client:
        found = []
        for _ in range(TOKENS):
            async with client.post(f"{url}/oauth/token", data={"grant_type": "client_credentials"}) as answer:
                found.append((await answer.json())["access_token"])
        return found


def _journal(organisation: str) -> tuple[list[float], int]:
    """Return when the organisation carried out each call, in seconds, and how many 429s it gave."""

    async def read() -> tuple[list[float], int]:
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"{organisation}/_control/journal") as answer,
        ):
            entries = [each for each in (await answer.json())["entries"] if each["path"].startswith("/api/v2")]
        good = sorted(each["elapsed_s"] for each in entries if each["status"] != 429)
        return good, len(entries) - len(good)

    return asyncio.run(read())


# Latency and throughput


def _against_nginx() -> list[Row]:
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if binary is None:
        print("nginx is not installed, so the gateway is not compared with it (apt-get install nginx-light)")
        return []
    with _nginx(binary) as (upstream, proxy), _gateway(upstream, {"r": "APPLY"}, allowed=10_000_000) as prefixes:
        rows = []
        for close, how in ((True, "a connection per request"), (False, "keep-alive")):
            times = {
                name: asyncio.run(_speed(url, close=close))
                for name, url in (("none", upstream), ("nginx", proxy), ("ours", prefixes["r"]))
            }
            added, nginx_added = (1e3 * (times[name][0] - times["none"][0]) for name in ("ours", "nginx"))
            rows += [
                _beside(f"added latency, {how} (against nginx)", added, nginx_added, "ms"),
                compared(
                    f"latency, {how} (against no proxy)", times["ours"][0] * 1e3, "ms", baseline=times["none"][0] * 1e3
                ),
                compared(
                    f"throughput, {how} (against nginx)", times["ours"][1], "per second", baseline=times["nginx"][1]
                ),
                compared(
                    f"throughput, {how} (against no proxy)", times["ours"][1], "per second", baseline=times["none"][1]
                ),
            ]
        return rows


async def _speed(url: str, *, close: bool) -> tuple[float, float]:
    """Return the median latency of one client in seconds, and the calls per second of `CLIENTS` clients."""
    connector = aiohttp.TCPConnector(force_close=close, limit=0)
    async with aiohttp.ClientSession(connector=connector) as client:

        async def one(number: int) -> float:
            start = time.perf_counter()
            async with client.get(f"{url}/api/v2/routing/skills/{number}") as answer:
                await answer.read()
                assert answer.status == 200, answer.status
            return time.perf_counter() - start

        await one(-1)
        latency = statistics.median([await one(number) for number in range(LATENCY_CALLS)])
        numbers = iter(range(LATENCY_CALLS, LATENCY_CALLS + THROUGHPUT_CALLS))

        async def worker() -> None:
            for number in numbers:
                await one(number)

        start = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(CLIENTS)))
        return latency, THROUGHPUT_CALLS / (time.perf_counter() - start)


@contextmanager
def _nginx(binary: str) -> Iterator[tuple[str, str]]:
    """Serve a constant answer, and a reverse proxy before it, from one nginx with one worker."""
    login = json.dumps({"access_token": "t", "token_type": "bearer", "expires_in": 86400})
    api, proxy = _free_port(), _free_port()
    text = f"""
daemon off; pid nginx.pid; error_log stderr crit; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  access_log off; default_type application/json; keepalive_requests 1000000;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  upstream api {{ server 127.0.0.1:{api}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{api};
    location / {{ return 200 '{BODY}'; }}
    location /oauth/ {{ return 200 '{login}'; }}
  }}
  server {{ listen 127.0.0.1:{proxy}; location / {{
    proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
}}
"""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "nginx.conf").write_text(text)
        child = subprocess.Popen([binary, "-p", folder, "-c", "nginx.conf"], stderr=subprocess.DEVNULL)
        try:
            _until_open(proxy)
            yield f"http://127.0.0.1:{api}", f"http://127.0.0.1:{proxy}"
        finally:
            child.terminate()
            child.wait()


# Fairness


def _fair() -> list[Row]:
    def finish_s(*, with_drift: bool) -> float:
        flows = {"apply": "APPLY", "drift": "DRIFT"}
        with _organisation() as organisation, _gateway(organisation, flows, tokens=FAIR_TOKENS) as prefixes:
            asyncio.run(_drive([Run(prefixes["apply"], {}, "warm", resources=100)]))
            time.sleep(WINDOW_S)
            return asyncio.run(_beside_drift(prefixes, with_drift=with_drift))

    alone_s, beside_s = finish_s(with_drift=False), finish_s(with_drift=True)
    aim = "1.125, its weight, and a burst's rounding"
    return [compared("an apply beside a drift scan", beside_s, "s", baseline=alone_s, aim=aim)]


async def _beside_drift(prefixes: dict[str, str], *, with_drift: bool) -> float:
    drift = asyncio.create_task(_drive([Run(prefixes["drift"], {}, "drift", resources=10_000)])) if with_drift else None
    apply = Run(prefixes["apply"], {}, "apply", resources=FAIR_RESOURCES)
    took_s = await _drive([apply])
    if drift is not None:
        drift.cancel()
        await asyncio.wait({drift})
    assert not apply.failed, apply.seen
    return took_s


# Processes


_ORGANISATION = """
import asyncio, sys, uvloop
from interlock.simulator import Simulation, Terms
from interlock.simulator.asgi import serve
async def main():
    async with serve(Simulation(Terms(speed=float(sys.argv[1]))), port=int(sys.argv[2])):
        await asyncio.Event().wait()
uvloop.run(main())
"""

_GATEWAY = """
import asyncio, json, sys, uvloop
from interlock.gateway import Credentials, Override, Secret
from interlock.gateway.service import Gateway, Terms
from interlock.lock import Priority
async def main(asked):
    terms = Terms(
        api_url=asked["url"], login_url=asked["url"], tokens=asked["tokens"],
        credentials=Credentials(client_id=asked["id"], secret=Secret(asked["secret"])),
        budgets=(Override(name="token", allowed=asked["allowed"], window_s=asked["window_s"]),),
    )
    gateway = Gateway(terms)
    address = await gateway.start("127.0.0.1")
    await gateway.check_login()
    prefixes = {
        name: address.url + gateway.add_run(name, Priority[kind], "token", lambda _: True)
        for name, kind in asked["runs"].items()
    }
    print(json.dumps(prefixes), flush=True)
    await asyncio.Event().wait()
uvloop.run(main(json.loads(sys.argv[1])))
"""


@contextmanager
def _organisation() -> Iterator[str]:
    port = _free_port()
    child = subprocess.Popen([sys.executable, "-c", _ORGANISATION, str(SPEED), str(port)])
    try:
        _until_open(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait()


@contextmanager
def _gateway(
    url: str, runs: dict[str, str], *, allowed: int = ALLOWED, tokens: int = TOKENS
) -> Iterator[dict[str, str]]:
    asked = {"url": url, "id": _ID, "secret": _SECRET, "tokens": tokens, "allowed": allowed, "window_s": WINDOW_S}
    child = subprocess.Popen(
        [sys.executable, "-c", _GATEWAY, json.dumps(asked | {"runs": runs})], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    try:
        yield json.loads(child.stdout.readline())
    finally:
        child.terminate()
        child.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _until_open(port: int) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port}")
