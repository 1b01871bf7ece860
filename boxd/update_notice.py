"""The note that a newer version of this package exists.

The service says which version is the newest in a header of its responses; the comparison and the note are made here.
"""

from __future__ import annotations

import re
import sys
import threading

from boxd._version import __version__

VERSION_HEADER = "x-boxd-py-sdk-version"
"""The request header that tells the service which version calls it."""
LATEST_HEADER = "x-boxd-py-sdk-latest"
"""The response header that names the newest version."""

Version = tuple[tuple[int, ...], tuple[tuple[int, int], ...]]

# Few processes hear of a newer version: `re` compiles these when it first needs them, and remembers.
_VERSION = (
    r"(?ai)v?(?P<release>[0-9]+(?:\.[0-9]+)*)"
    r"(?P<suffix>(?:[._-]?(?:alpha|beta|dev|post|pre|rc|a|b|c)[._-]?[0-9]*)*)(?:\+[a-z0-9._-]+)?"
)
_PART = r"(?i)(alpha|beta|dev|post|pre|rc|a|b|c)[._-]?([0-9]*)"
_RANKS = {"dev": -4, "a": -3, "alpha": -3, "b": -2, "beta": -2, "c": -1, "rc": -1, "pre": -1, "post": 1}

_lock = threading.Lock()
_noted = False


def parse_version(text: str) -> Version | None:
    """A version in a form that compares as PEP 440 orders versions, or None where `text` is not a version.

    The numbers of the release come first, without zeros at the end (`1.0` equals `1`); then one `(rank, number)` for
    each suffix part and `(0, 0)` for the end, so that `1.0.dev1 < 1.0a1 < 1.0rc1 < 1.0 < 1.0.post1`.
    """
    text = text.strip()
    # Versions are short; the limit keeps a hostile header from becoming a number of a million digits.
    match = re.fullmatch(_VERSION, text) if len(text) <= 64 else None
    if match is None:
        return None
    release = [int(number) for number in match["release"].split(".")]
    while release and release[-1] == 0:
        release.pop()
    parts = [(_RANKS[word.lower()], int(number or 0)) for word, number in re.findall(_PART, match["suffix"])]
    return tuple(release), (*parts, (0, 0))


def is_newer(candidate: str, installed: str) -> bool:
    """True if both are versions and `candidate` is strictly the newer one."""
    theirs, ours = parse_version(candidate), parse_version(installed)
    return theirs is not None and ours is not None and theirs > ours


def note_latest(latest: str) -> None:
    """Print one note on standard error, once in the life of the process, if `latest` is newer than this version.

    Called with the header's value for every response that has one. Never raises: a call does not fail for a note.
    """
    if _noted or not is_newer(latest, __version__):
        return
    if _claim() and sys.stderr is not None:
        try:
            sys.stderr.write(
                f"boxd {latest.strip()} is available, this is {__version__}. To update: pip install --upgrade boxd\n"
            )
            sys.stderr.flush()
        except (OSError, ValueError):
            # Standard error is closed or nobody reads it: there is no one to tell.
            return


def _claim() -> bool:
    """True for the first caller only, whatever the thread."""
    global _noted
    with _lock:
        first = not _noted
        _noted = True
        return first
