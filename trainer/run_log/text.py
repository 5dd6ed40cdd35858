"""Text as the run log keeps it: what SQLite and json take, and what is a name, a note or a tag."""

import json
import unicodedata
from collections.abc import Sequence
from typing import Any

from trainer.run_log.schema import RunLogError

NAME_LENGTH = 200  # characters
NOTE_LENGTH = 10_000
TAG_LENGTH = 40
TAG_COUNT = 20

# Control characters, and what ends a line without being one.
_UNPRINTABLE = ("Cc", "Zl", "Zp")
# They turn the order of what stands behind them, beyond the end of their own text.
_TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def storable(text: str) -> str:
    """Text as SQLite takes it: bytes of a file name that are no UTF-8 become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def to_json(value: Any) -> str:
    """Json without NaN, which is no json.

    Raises:
        ValueError: the value holds something json cannot.
    """
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The run log keeps json only, and this value is none ({error}): "
            "use numbers that are finite, text, lists and dicts."
        ) from error


def checked_name(name: str) -> str:
    """A run's name without the space around it.

    Raises:
        RunLogError: empty, longer than `NAME_LENGTH`, or with control characters.
    """
    return _checked_line(name, "A run's name", NAME_LENGTH)


def checked_note(note: str) -> str:
    """A note as it is stored; line breaks and tabs are welcome.

    Raises:
        RunLogError: longer than `NOTE_LENGTH`, or with other control characters.
    """
    note = storable(note)
    if len(note) > NOTE_LENGTH:
        raise RunLogError(
            f"A note has at most {NOTE_LENGTH} characters and this one {len(note)}: shorten it."
        )
    _refuse([c for c in note if unicodedata.category(c) == "Cc" and c not in "\n\r\t"], "A note")
    return note


def checked_tags(tags: Sequence[str]) -> list[str]:
    """Tags without the space around them, each once, in the order given.

    Raises:
        RunLogError: more than `TAG_COUNT`, or one that is empty, longer than `TAG_LENGTH`, or
            with control characters.
    """
    found = list(dict.fromkeys(_checked_line(tag, "A tag", TAG_LENGTH) for tag in tags))
    if len(found) > TAG_COUNT:
        raise RunLogError(
            f"A run has at most {TAG_COUNT} tags, not {len(found)}: leave out the least useful."
        )
    return found


def _checked_line(text: str, what: str, most: int) -> str:
    text = storable(text).strip()
    if not 1 <= len(text) <= most:
        raise RunLogError(
            f"{what} has 1 to {most} characters and this one {len(text)}: "
            f"{'shorten it' if text else 'type one'}."
        )
    _refuse([c for c in text if _is_unprintable(c)], what)
    return text


def _is_unprintable(character: str) -> bool:
    return (
        unicodedata.category(character) in _UNPRINTABLE
        or unicodedata.bidirectional(character) in _TURNING
    )


def _refuse(characters: Sequence[str], what: str) -> None:
    if characters:
        raise RunLogError(
            f"{what} holds no control characters, and this one has U+{ord(characters[0]):04X}: "
            "leave it out."
        )
