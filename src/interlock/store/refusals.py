"""What a store refuses of this program: its credentials, or how it is set up. Knows: error types. Touches nothing.

For a command these are its user's own: its credentials, its settings. Whoever asks a server that uses the store has
other credentials, and can do nothing about it: over HTTP they are the server's trouble, which may pass.
"""

from __future__ import annotations

from interlock.errors import AuthenticationFailed, BackendUnavailable, UsageError


class StoreDenied(AuthenticationFailed):
    """The store does not take our credentials, or they lack a permission."""

    http_status = BackendUnavailable.http_status


class StoreUnfit(UsageError):
    """The store is not there, is set up so that it cannot be used, or was closed."""

    http_status = BackendUnavailable.http_status
