"""What tenants may use of this process, by tier (PROTOCOL.md, "Limits by tenant")."""
