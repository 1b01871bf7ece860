"""What the generated messages are: betterproto2 messages that bring their own codecs and are cheap to import."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import betterproto2

if TYPE_CHECKING:
    from typing import ClassVar

    from typing_extensions import Self


class _Declared:
    """An attribute that `dataclasses.dataclass` gives a class, made for each message when it is first asked for.

    Making a dataclass of a message with 40 fields takes 1 ms, and nothing but reflection needs it: equality, repr,
    dicts and JSON. Encoding and decoding do not.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Message | None, owner: type[Message]) -> Any:
        if owner is Message:
            raise AttributeError(f"{owner.__name__} is not a dataclass; the messages derived from it are")
        # The decorator works on a twin: on the message itself it would, for a moment, replace the defaults that other
        # threads are reading.
        names = {"__annotations__": owner.__annotations__, "__module__": owner.__module__, "__doc__": owner.__doc__}
        decorate = dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=True)
        twin: type = decorate(type(owner.__name__, (), {**names, **owner._fields()}))
        for name in ("__dataclass_params__", "__dataclass_fields__"):
            setattr(owner, name, getattr(twin, name))
        return owner.__dict__[self._name]


class Message(betterproto2.Message):
    """A message of the service.

    `bytes(message)` and `Message.parse(data)` are straight-line code of each message. All else is betterproto2's.
    A field that is not set is not in the instance: its default is an attribute of the class.
    """

    __match_args__ = ()
    _unknown_fields = b""

    if TYPE_CHECKING:
        # betterproto2 reads a message's annotations in its own module, so that this class can have none at run time.
        __dataclass_params__: ClassVar[Any]
        __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

        @classmethod
        def parse(cls, data: bytes, into: Self | None = None) -> Self:
            """The message in `data`.

            Args:
                data: The encoded message.
                into: A message to merge it into, as protobuf merges: single fields are replaced, repeated ones grow.

            Raises:
                ValueError: The bytes are not such a message. The error names it.
            """

    else:
        __dataclass_params__ = _Declared()
        __dataclass_fields__ = _Declared()

    @staticmethod
    def _fields() -> dict[str, Any]:
        """What betterproto2 knows of each field, by the attribute's name."""
        return {}

    def __replace__(self, /, **changes: Any) -> Self:
        """For `copy.replace`: a copy with some fields changed."""
        return dataclasses.replace(self, **changes)
