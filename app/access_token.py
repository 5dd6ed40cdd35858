"""Where the dashboard's token comes from: a file, the environment, or drawn at the start."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TOKEN_VARIABLE = "FASA_TOKEN"
SHORTEST = 16  # characters
LONGEST = 1024
DRAWN_BYTES = 24
_OTHERS = stat.S_IROTH | stat.S_IWOTH


class TokenError(ValueError):
    """A token that cannot be used; the message is one sentence."""


@dataclass(frozen=True)
class Token:
    """A token and where it comes from: a file, a variable's name, or None when drawn here."""

    text: str
    source: str | None


def chosen_token(file: Path | None, environment: Mapping[str, str]) -> Token | None:
    """The token a person chose; None when they chose none.

    Args:
        file: holds the token; goes before the environment.
        environment: may hold `FASA_TOKEN`.

    Raises:
        TokenError: the file cannot be read or others may read it, or the token is no good one.
    """
    if file is not None:
        return Token(_checked(_read(file), str(file)), str(file))
    if TOKEN_VARIABLE in environment:
        return Token(_checked(environment[TOKEN_VARIABLE], TOKEN_VARIABLE), TOKEN_VARIABLE)
    return None


def drawn_token() -> Token:
    """A token that nobody can guess: 192 random bits."""
    return Token(secrets.token_hex(DRAWN_BYTES), None)


def _read(file: Path) -> str:
    try:
        with file.open(encoding="utf-8") as stream:
            if os.fstat(stream.fileno()).st_mode & _OTHERS:
                raise TokenError(
                    f"the token file {file} can be read or changed by every user of this machine: "
                    f"chmod o-rw {file}"
                )
            return stream.read(LONGEST + 2).removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise TokenError(f"the token file {file} is no text: write the token into it") from None
    except OSError as error:
        raise TokenError(
            f"the token file {file} cannot be read ({error.strerror}): "
            "name a file that holds the token"
        ) from None


def _checked(token: str, source: str) -> str:
    """The token, never told in an error."""
    if not SHORTEST <= len(token) <= LONGEST:
        raise TokenError(
            f"the token of {source} has {len(token) if len(token) <= LONGEST else 'too many'} "
            f"characters, but it needs {SHORTEST} to {LONGEST}: "
            "`openssl rand -hex 24` makes a good one"
        )
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise TokenError(
            f"the token of {source} holds a space, a control character or a letter outside ASCII: "
            "make it one word of ASCII letters, digits and signs"
        )
    return token
