"""Names of boxes: the rule, and names made up for boxes that have none."""

from __future__ import annotations

import re
import secrets
from collections.abc import Container

from .errors import Code, EmulatorError

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_ADJECTIVES = _words(
    """
    amber ample bold brave brisk calm clear clever cosy crisp deft eager early easy fair fast fine
    firm fleet fond frank free fresh gentle glad grand green happy honest humble jolly keen kind
    light lively loyal lucid mellow mild neat noble open plain polite prompt proud pure quick quiet
    ready round sharp shiny silver simple sleek smart smooth snug sober solid sound spry steady
    still sturdy sunny sure swift tidy trim true vivid warm wise witty young
    """
)
_NOUNS = _words(
    """
    acorn alder anchor arrow aspen badger beacon beech birch brook canyon cedar cliff clover comet
    coral crane creek delta dune eagle elm ember falcon fern finch fjord forest fox garnet glade
    grove harbor hare hawk hazel heron hill island ivy jay kestrel lagoon lake lark lynx maple marsh
    meadow mesa moon moss oak ocean otter owl pebble pine plover pond puffin quail raven reef ridge
    river robin sparrow spruce stone stream summit swan thrush tide valley walnut wave willow wolf
    wren
    """
)


def check_name(name: str) -> None:
    """INVALID_ARGUMENT unless `name` is a DNS label (RFC 1123) in lower case, of at most 63 characters."""
    if not _LABEL.fullmatch(name):
        raise EmulatorError(
            Code.INVALID_ARGUMENT,
            f"{name!r} is no name for a box: use 1 to 63 lower-case letters, digits and hyphens, "
            "with a letter or digit first and last",
        )


def make_name(taken: Container[str]) -> str:
    """A free name, adjective and noun; with a number when the pair is taken."""
    name = f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_NOUNS)}"
    while name in taken:
        name = f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_NOUNS)}-{secrets.randbelow(10000)}"
    return name
