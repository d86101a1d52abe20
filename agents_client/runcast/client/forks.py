"""Programs that fork while a Runcast is open. Imported before gRPC is, for what it does when it is imported.

gRPC's core has fork handlers, made for its blocking interface, and on by default, though gRPC's Python layer is told that they are off by
default; with an asyncio client open they kill every few children on the spot. They are switched off, unless the program has set
GRPC_ENABLE_FORK_SUPPORT itself. A child does not need them: it can't use its parent's Runcast anyway (`home.py`).

Never imports grpc.
"""

import os

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
