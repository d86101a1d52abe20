"""Bounds of revoking and disconnecting; as `runcast.wire.limits`."""

from typing import Final

REVOCATIONS_MAX: Final = 10_000
"""Revocations in force. The bucket refuses the next (`storage_full`): lift some, or end access where tokens come from. A process that
finds more (an operator enlarged the bucket) leaves out those that end soonest."""
REVOCATION_MAX_S: Final = 90 * 86_400.0
"""Longest that one lasts. Who asks for longer is refused; who is to stay out longer gets no more tokens from the issuer."""
REVOCATION_REASON_BYTES_MAX: Final = 100
"""The reason of one. Longer: refused."""
REVOCATION_VALUE_BYTES_MAX: Final = 4 * 1024
"""One as it is stored. The bucket refuses larger ones."""
REVOCATION_MARKER_S: Final = 1.0
"""How long it stays visible in the bucket that one was lifted, or ended: so long it still takes a place there. Nobody needs to see it: who
missed it finds nothing at the key. Whole seconds."""
REVOCATIONS_ROUND_S: Final = 5.0
"""Every process compares what it knows with the bucket this often, should the news of one have been lost."""
REVOCATIONS_PAGE_MAX: Final = 1_024
"""Revocations asked for in one Direct Get."""
REVOCATIONS_PAUSE_S: Final = 0.25
"""Until the bucket is read again, when it could not be."""
REVOCATIONS_WAIT_S: Final = 12.0
"""How long somebody who connects waits for a process that has yet to read (anew) what is revoked: as long as for a leader. Then
`unavailable`."""
REVOKE_PASS_S: Final = 0.1
"""Who is connected is looked through at most this often, however many revocations come. The first comes to its turn at once."""
REVOKE_PASS_CHUNK: Final = 256
"""Connections looked at before others get their turn."""
REVOKE_ORDERS_MAX: Final = 1_024
"""Orders to close connections that a process has under way at once. Further ones are not answered; revocations hold without."""
REVOKE_ORDER_S: Final = 1.0
"""How long who gives one waits for the answers of all processes, and a process for the news of the revocation that it is about."""
