"""The plain values that go into calls and come out of them.

What a caller fills in (`BoxConfig` and its parts) can be changed after it is made, so that one configuration can be
varied from machine to machine. What a call returns is frozen: it is a record of what the service said.
"""
