"""`runcast bench`: honest figures of this machine.

Agents and devices run in processes of their own, so the load does not share an event loop with what is measured, though it shares the
processors; the figures say how much of them everything took. `figures` judges (pure), `usage` reads /proc, `agents` and `devices` are the
load's processes, `command` puts it together; `client`, with `client_agents` and `client_devices`, measures the client library.
"""
