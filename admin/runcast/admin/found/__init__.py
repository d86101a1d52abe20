"""A user, found: presence, devices, runs over time, what waits."""
