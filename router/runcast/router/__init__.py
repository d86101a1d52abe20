"""The router: takes agents' batches over gRPC and stores them in JetStream; hands agents what users sent.

Nothing that matters lives in a router's memory: kill it at any time, and producers go on at another one.
"""
