"""A command as the one string that the service gives to a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# Special built-in utilities that run commands themselves (POSIX Shell Command Language, section 2.14): `NAME=value`
# words before them set variables of the shell, which the commands need not see.
_RUNNERS = frozenset((".", "eval"))
# Unquoted as a first word these would begin a compound command (section 2.4).
_RESERVED = frozenset(("case", "do", "done", "elif", "else", "esac", "fi", "for", "if", "in", "then", "until", "while"))


def command_line(args: Sequence[str], env: Mapping[str, str] | None, cwd: str | None = None) -> str:
    """The line for a program and its arguments.

    Every argument is quoted, so that the program gets exactly `args`, whatever is in them. `env` becomes `NAME=value`
    words in front of the program (section 2.9.1), and reaches everything that the program runs. `cwd` becomes a `cd`
    before it; where that fails, the status is 126 and the program is not run. Raises `ValueError` for no arguments, for
    names that are no variable's, for an empty directory, and for NUL characters and lone surrogates, which no command
    can carry; `TypeError` for what is not a string.
    """
    if not args:
        raise ValueError('exec without a command: give the program and its arguments, as in exec("ls", "-l")')
    for word in args:
        _check_word(word, "argument")
    quoted = [shlex.quote(word) for word in args]
    if quoted[0] == args[0] and ("=" in args[0] or args[0] in _RESERVED):
        # A program with a "=" in its name would be taken for one more variable.
        quoted[0] = f"'{args[0]}'"
    line = " ".join(quoted)
    if env:
        words = " ".join(_assignments(env))
        line = f"export {words}; {line}" if args[0] in _RUNNERS else f"{words} {line}"
    return line if cwd is None else f"{_change_directory(cwd)}; {line}"


def _assignments(env: Mapping[str, str]) -> list[str]:
    words = []
    for name, value in env.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            raise ValueError(f"{name!r} is not a name of an environment variable: use letters, digits and underscores")
        _check_word(value, f"value of the environment variable {name}", show=False)
        words.append(f"{name}={shlex.quote(value)}")
    return words


def _change_directory(cwd: str) -> str:
    _check_word(cwd, "directory")
    if not cwd:
        raise ValueError("cwd is empty: use a directory in the machine, absolute or relative to /home/boxd")
    # With a leading "./", neither CDPATH nor a leading "-" means anything.
    directory = cwd if cwd.startswith("/") else f"./{cwd}"
    return f"cd {shlex.quote(directory)} || exit 126"


def _check_word(word: object, what: str, *, show: bool = True) -> None:
    shown = f"{word!r} " if show else ""
    if isinstance(word, (list, tuple)) and show:
        raise TypeError(f'the {what} {shown}is of type {type(word).__name__}: unpack it, as in exec(*["ls", "-l"])')
    if not isinstance(word, str):
        raise TypeError(f"the {what} {shown}is of type {type(word).__name__}: use a str")
    if "\0" in word:
        raise ValueError(f"the {what} {shown}has a NUL character")
    if not word.isascii():
        try:
            word.encode()
        except UnicodeEncodeError:
            raise ValueError(f"the {what} {shown}has a lone surrogate, which UTF-8 cannot express") from None
