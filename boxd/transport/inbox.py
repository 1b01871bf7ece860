"""Messages of a call that wait to be taken, and what of the server's window they hold."""

from __future__ import annotations

from collections import deque

from boxd.transport.envelope import PREFIX_SIZE


class Inbox:
    """Complete messages as (flags, payload), still encoded and compressed. Their bytes are given back to the server's
    window when they are taken, all others at once: so a reader that stops stops the sender, however small its messages
    are, and a message larger than the window passes."""

    __slots__ = ("_held", "_messages", "_uncredited", "received")

    def __init__(self) -> None:
        self._messages: deque[tuple[int, bytes]] = deque()
        self._held = 0
        self._uncredited = 0
        #: How many messages came in all.
        self.received = 0

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, messages: list[tuple[int, bytes]], received: int) -> None:
        """So many bytes came, and completed these messages."""
        self._uncredited += received
        if messages:
            self._messages.extend(messages)
            self.received += len(messages)
            self._held += sum(len(payload) + PREFIX_SIZE for _, payload in messages)

    def take(self) -> tuple[int, bytes]:
        """The next message."""
        message = self._messages.popleft()
        self._held -= len(message[1]) + PREFIX_SIZE
        return message

    def clear(self) -> None:
        """Drop what waits."""
        self._messages.clear()
        self._held = 0

    def credit(self) -> int:
        """Bytes to give back to the server's window now."""
        size = self._uncredited - self._held
        if size <= 0:
            return 0
        self._uncredited -= size
        return size
