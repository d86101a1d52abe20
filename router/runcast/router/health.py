"""Which services of a router its health service tells about; see `runcast.bus.rpc_health`."""

from runcast.v1 import inbox_pb2, ingest_pb2

SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name for module, name in ((ingest_pb2, "IngestService"), (inbox_pb2, "InboxService"))
)
"""Full names of Runcast's services on a router."""
