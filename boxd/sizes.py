"""Sizes of memory and disks, as people write them."""

from __future__ import annotations

import re
from decimal import Decimal

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([KMGTP])(?:IB?|B)?|B)?", re.ASCII)
_POWERS = {None: 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_LARGEST = 2**64 - 1


def parse_size(value: str | int) -> int:
    """The number of bytes that `value` stands for.

    A string is a number and a unit, in powers of 1024: `"512M"`, `"8G"`, `"8GB"`, `"10GiB"`, `"1.5T"`; units are K,
    M, G, T and P in either case, and a string without a unit is in bytes. A fraction of a byte is dropped. An int
    is in bytes. Raises `ValueError` for anything else, for negative sizes and for sizes that do not fit in 64 bits.
    """
    size = -1
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and len(value) <= 64 and (match := _SIZE.fullmatch(value.strip().upper())):
        number = Decimal(match[1])
        size = int(number * 1024 ** _POWERS[match[2]])
        if size == 0 and number:
            size = -1
    if not 0 <= size <= _LARGEST:
        raise ValueError(
            f"{value!r} is not a size: use a number with a unit, such as '512M', '8G', '1.5T' or '10GiB' "
            "(powers of 1024), or a whole number of bytes from 0 to 2**64 - 1"
        )
    return size
