"""The address at which a run's Terraform finds a state of our own: it listens before anybody can answer there."""

from __future__ import annotations

import socket

from interlock.listening.guests import listen
from interlock.terraform.command import HttpBackend


class OwnDoor:
    """A free loopback port. Whoever connects waits until it is served; see `interlock.backend.loopback`.

    Terraform can be told of it, and start, before the rest of a run is even loaded. It is what such a Terraform needs
    to know of the way to its state; see `interlock.run.surroundings.Way`.

    Args:
        secret: Part of the run's address, which is a secret by it.
    """

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.listener: socket.socket = listen("127.0.0.1", 0, what="the run's own address")
        address = f"http://127.0.0.1:{self.listener.getsockname()[1]}/run/{secret}/state"
        # Refused means that this process is dead; retrying twice, as is Terraform's habit, would only delay recovery.
        self._backend = HttpBackend(
            address=address, lock_address=address, unlock_address=address, retry_max=1, retry_wait_min_s=1
        )

    @property
    def backend(self) -> HttpBackend | None:
        """See `Way.backend`."""
        return self._backend

    @property
    def workspace(self) -> str:
        """See `Way.workspace`."""
        return ""

    @property
    def lock(self) -> bool | None:
        """See `Way.lock`. Terraform locks through it, with its own id."""
        return None

    @property
    def files(self) -> tuple[int, ...]:
        """See `Way.files`."""
        return ()

    def close(self) -> None:
        """Listen no more."""
        self.listener.close()
