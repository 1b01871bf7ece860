"""The published client, boxd 0.1.9, against the emulator: in an environment of its own, by its own documentation.

Nothing of it is copied here: the examples are read from the package that is installed, and run as they are. What they
take for granted, such as a box, a file or a program in the box, is made before (`cases`). The client reads its
addresses and its key from the variables `BOXD_API_URL`, `BOXD_EXCHANGE_URL` and `BOXD_API_KEY`, so that nothing of it
has to be changed; the emulator accepts the key that the examples contain. The same examples run with our client, which
shows that what was written for the one works with the other.
"""
