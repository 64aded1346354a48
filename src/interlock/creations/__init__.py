"""What runs made through their gateways, until a state holds it.

A run's gateway sees each call that makes an object, and the id in its answer. Terraform stores an object later, and a
Terraform or a provider that is killed never does. So each call is written down before it is sent and again before its
answer is given on, and struck out when a stored state holds the object. What stays is an orphan: it exists, and no
state has it.

Knows: calls, objects, states. Knows nothing of runs and of gateways.
"""

from __future__ import annotations

from interlock.creations.book import CreationBook
from interlock.creations.creation import Creation, Place, spell

__all__ = ["Creation", "CreationBook", "Place", "spell"]
