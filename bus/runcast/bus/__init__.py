"""What router and edge share: settings, logs, the life of a process, and everything that is said to NATS."""
