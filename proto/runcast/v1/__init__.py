"""Generated from the .proto files beside this one by `make proto`; import the messages from `runcast.v1.event_pb2` etc."""
