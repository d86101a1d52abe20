"""`runcast soak`: does anything grow? A steady load for minutes, and the memory of every process, third by third.

`growth` judges (pure), `agents` and `devices` are the load's processes, `command` puts it together. The load forgets what it has checked,
so its own processes are held to the same: they are the client library and the test device, for minutes.
"""
