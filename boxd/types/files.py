"""What a machine says about its files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FileInfo:
    """An entry of a directory in a machine."""

    name: str
    """Its name, without the directory."""
    is_dir: bool
    """Whether it is a directory. A link to one is not."""
    size_bytes: int
    """The size of a file; 0 for a directory."""
    permissions: str
    """Kind and permissions as `ls -l` writes them: `-rw-r--r--`."""
    modified_at: int
    """When its content was changed, in seconds since 1970."""
    added_at: int
    """When it came there, in seconds since 1970, as well as the machine can tell: a change of its name or permissions
    may count too."""


class FileList(list[FileInfo]):
    """The entries of a directory, in no particular order."""

    truncated: bool = False
    """True if the directory has more entries than the server lists: this is then only a part of it."""
