"""What all tests share: Hypothesis profiles.

The suite is derandomized, so that a green run stays green. To look further: `HYPOTHESIS_PROFILE=explore pytest tests/unit`.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("suite", max_examples=60, stateful_step_count=40, deadline=None, derandomize=True, database=None)
settings.register_profile(
    "explore", max_examples=2000, stateful_step_count=80, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))
