"""A sans-io HTTP/2 client (RFC 9113): bytes in, method calls and bytes out. No sockets, no clocks, no tasks."""
