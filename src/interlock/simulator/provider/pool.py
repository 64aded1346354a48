"""The tokens of the provider: minted at configure, one per pooled client, refreshed on a timer.

Source: docs/facts/genesys.md#genesys-20 and #genesys-5: a refresh that fails kills the plugin.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic  # noqa: TID251 - a plugin process of its own; nothing is composed here

from .sdk import ATTEMPT_LIMIT_S, ATTEMPTS, FIRST_BACKOFF_S, LONGEST_BACKOFF_S, ApiError, Pace, Patience, Sdk, Upstream
from .wire import Response, WireError, exchange

MINT_RETRY_S = 60.0
FIRST_MINT_WAIT_S = 0.5
LONGEST_MINT_WAIT_S = 10.0
REFRESH_EARLY_S = 60.0
ACQUIRE_ATTEMPTS = 3
ACQUIRE_WAIT_S = 300.0

_OK = 200
_SERVER_ERROR = 500
_TOO_MANY = 429


class AuthError(Exception):
    """The login service refused; fatal for the provider's start."""


class Login:
    """Mints tokens for one OAuth client.

    Args:
        upstream: Where the login service is.
        client_id: Of the OAuth client.
        secret: Of the OAuth client; kept out of every message.
        pace: Waits.
    """

    def __init__(self, upstream: Upstream, client_id: str, secret: str, *, pace: Pace) -> None:
        self._endpoint = upstream.login
        self._basic = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
        self._pace = pace

    def mint(self) -> tuple[str, float]:
        """Return a token and its life in seconds, waiting out the login limit for a minute.

        Raises:
            AuthError: Any other refusal, or the minute is over.
        """
        patience = Patience(self._pace, MINT_RETRY_S)
        wait_s = FIRST_MINT_WAIT_S
        while True:
            try:
                return self.mint_once()
            except AuthError as error:
                if "invalid_request (rate limit exceeded;" not in str(error) or patience.is_over:
                    raise
            patience.wait(wait_s)
            wait_s = min(wait_s * 2, LONGEST_MINT_WAIT_S)

    def mint_once(self) -> tuple[str, float]:
        """Return a token and its life, with the HTTP layer's own retries only.

        Raises:
            AuthError: The login service refused or did not answer.
        """
        response = self._post()
        try:
            answer = json.loads(response.body)
        except ValueError as error:
            raise AuthError(f"Auth Error: {response.status} - {error}") from error
        if response.status != _OK:
            name, text = answer.get("error", ""), answer.get("error_description", "")
            raise AuthError(f"Auth Error: {response.status} - {name} ({text})")
        return answer["access_token"], float(answer["expires_in"])

    def _post(self) -> Response:
        headers = {"Authorization": f"Basic {self._basic}", "Content-Type": "application/x-www-form-urlencoded"}
        body = b"grant_type=client_credentials"
        failure = ""
        for attempt in range(ATTEMPTS):
            try:
                response = exchange(
                    self._endpoint, "POST", "/oauth/token", headers=headers, body=body, timeout_s=ATTEMPT_LIMIT_S
                )
                if response.status < _SERVER_ERROR and response.status != _TOO_MANY:
                    return response
                failure = f"status {response.status}"
            except WireError as error:
                failure = str(error)
            self._pace.wait_for_retry(min(FIRST_BACKOFF_S * 2**attempt, LONGEST_BACKOFF_S))
        raise AuthError(f"Auth Error: giving up after {ATTEMPTS} attempt(s): {failure}")


class Pool:
    """Clients that operations borrow, each with its own token.

    Args:
        upstream: Where the API is.
        login: Mints; None with a ready-made access token.
        size: Number of clients.
        pace: Waits.
    """

    def __init__(self, upstream: Upstream, login: Login | None, *, size: int, pace: Pace) -> None:
        self._upstream = upstream
        self._login = login
        self._size = size
        self._pace = pace
        self._free: queue.SimpleQueue[Sdk] = queue.SimpleQueue()
        self._refresher = _Refresher(login.mint_once) if login is not None else None

    def fill(self, access_token: str = "") -> Sdk:
        """Mint the default client and then the pool; return the default client.

        Raises:
            AuthError: A token could not be had.
        """
        default = self._client(access_token)
        workers = min(self._size, max(5, self._size // 4))
        with ThreadPoolExecutor(max_workers=workers) as executor:
            for client in executor.map(lambda _: self._client(access_token), range(self._size)):
                self._free.put(client)
        return default

    @contextlib.contextmanager
    def client(self) -> Iterator[Sdk]:
        """Lend a client for one whole operation.

        Raises:
            ApiError: None came free in time.
        """
        borrowed = self._acquire()
        try:
            yield borrowed
        finally:
            self._free.put(borrowed)

    def _acquire(self) -> Sdk:
        for _ in range(ACQUIRE_ATTEMPTS):
            with contextlib.suppress(queue.Empty):
                return self._free.get(timeout=ACQUIRE_WAIT_S / self._pace.speed)
            if self._login is not None:
                self._free.put(self._client(""))
        raise ApiError("no SDK client became free in the pool", method="", path="")

    def _client(self, access_token: str) -> Sdk:
        if self._login is None:
            return Sdk(self._upstream, access_token, pace=self._pace)
        token, life_s = self._login.mint()
        client = Sdk(self._upstream, token, pace=self._pace)
        if self._refresher is not None:
            self._refresher.watch(client, life_s)
        return client


class _Refresher:
    """Renews each token 60 s before it expires; any error ends the process, as a panic does in Go."""

    def __init__(self, mint: Callable[[], tuple[str, float]]) -> None:
        self._mint = mint
        self._due: list[tuple[float, Sdk]] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def watch(self, client: Sdk, life_s: float) -> None:
        with self._changed:
            self._due.append((monotonic() + max(life_s - REFRESH_EARLY_S, 0.0), client))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="refresher", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            client = self._next()
            try:
                client.token, life_s = self._mint()
            except Exception as error:  # noqa: BLE001 - whatever it is, the real plugin dies of it
                sys.stderr.write(f"panic: {error}\n\ngoroutine 1 [running]:\n")
                sys.stderr.flush()
                os._exit(2)
            self.watch(client, life_s)

    def _next(self) -> Sdk:
        with self._changed:
            while True:
                due_s, client = min(self._due, key=lambda item: item[0])
                wait_s = due_s - monotonic()
                if wait_s <= 0:
                    self._due.remove((due_s, client))
                    return client
                self._changed.wait(min(wait_s, threading.TIMEOUT_MAX))
