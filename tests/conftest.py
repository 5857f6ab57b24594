"""Settings of every test run."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How long an example takes depends on the machine; whether it is right does not.
settings.register_profile(
    "machine-independent", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("machine-independent")
