"""What is stored of tenants that have keys is sealed: nobody reads it from NATS's disks (ARCHITECTURE.md, "At rest")."""
