"""boxd: machines in milliseconds."""
