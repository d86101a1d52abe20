"""The demo agent: answers questions about a corpus by searching it, reading what it found, and quoting it.

No language model and no prepared answers. `python -m runcast.cli.demo_agent --router HOST:PORT [--corpus DIR]` runs it.
"""
