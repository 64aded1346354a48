"""What one configured provider process holds: its clients, its waits and its listings."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from .pool import Pool
from .sdk import Pace, Sdk

PAGE_SIZE = 100
MAX_PAGES = 1000


class Session:
    """One configuration of the provider.

    Args:
        pool: Clients for operations.
        default: The client of configure time.
        pace: Waits.
        retry_limit_s: How long reads of a missing object are retried.
    """

    def __init__(self, pool: Pool, default: Sdk, *, pace: Pace, retry_limit_s: float) -> None:
        self.pool = pool
        self.default = default
        self.pace = pace
        self.retry_limit_s = retry_limit_s
        self._lock = threading.Lock()
        self._listings: dict[tuple[str, str], dict[str, str]] = {}
        self._home = ""

    def listing(self, path: str, key: str) -> dict[str, str]:
        """Return the ids of a whole collection by lower-case `key`, listed once per process.

        Raises:
            ApiError: The listing failed.
        """
        with self._lock:
            if (path, key) not in self._listings:
                with self.pool.client() as sdk:
                    entities = pages(sdk, path, size=PAGE_SIZE)
                    self._listings[path, key] = {str(item.get(key, "")).casefold(): item["id"] for item in entities}
            return self._listings[path, key]

    def home_division(self) -> str:
        """Return the id of the home division, asked for once.

        Raises:
            ApiError: The API refused.
        """
        with self._lock:
            if not self._home:
                self._home = str(self.default.call("GET", "/authorization/divisions/home")["id"])
            return self._home


def pages(sdk: Sdk, path: str, *, size: int, **query: str) -> Iterator[dict[str, Any]]:
    """Yield the entities of every page of a list.

    Raises:
        ApiError: The API refused.
    """
    for number in range(1, MAX_PAGES + 1):
        answer = sdk.call("GET", path, query={"pageSize": str(size), "pageNumber": str(number), **query})
        yield from answer["entities"]
        if number >= answer.get("pageCount", 1):
            return
