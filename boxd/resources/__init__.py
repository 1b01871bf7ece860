"""The things that a client works with: machines, their processes and files. What a call means; how it travels is the
business of `boxd.transport`."""
