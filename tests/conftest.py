"""Property tests repeat themselves: the same examples everywhere, so a failure is a change and not a throw of dice.

`HYPOTHESIS_PROFILE=explore python -m pytest tests/property` looks further, from a fresh seed.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
