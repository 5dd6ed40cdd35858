"""What others typed, made safe for a terminal."""

from __future__ import annotations

import unicodedata

# What a terminal takes for an order or a line's end, and halves of characters.
_ORDERS = ("Cc", "Zl", "Zp", "Cs")
_TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def plain(text: str) -> str:
    """Text that shows what it says; line breaks and tabs stay, question marks show the rest."""
    return "".join("?" if _is_order(letter) else letter for letter in text)


def _is_order(letter: str) -> bool:
    if letter in "\n\t":
        return False
    return unicodedata.category(letter) in _ORDERS or unicodedata.bidirectional(letter) in _TURNING
