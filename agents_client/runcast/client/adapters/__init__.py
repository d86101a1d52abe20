"""Adapters: what an agent framework does, told as a Runcast run. One module per framework, each behind an extra of its own.

Rules: a framework is imported by its own module alone, so that `runcast.client` costs nothing more for them; an adapter watches, and never
changes what the framework does.
"""
