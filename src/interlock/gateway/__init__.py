"""One gateway between every run and the organisation: one budget, tokens that outlive any run, fenced side effects.

The pure parts other rooms use. The running gateway is `interlock.gateway.service.Gateway`.
"""

from __future__ import annotations

__all__: list[str] = []
