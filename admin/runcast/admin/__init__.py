"""The admin service: what operators look at and do, on a port of its own."""
