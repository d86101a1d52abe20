"""Who a peer is: the auth file, keys, tokens and what they claim. Edges and routers share it (SECURITY.md)."""
