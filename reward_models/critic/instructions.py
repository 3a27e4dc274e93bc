# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""An instruction taken apart: which colours it names, what it says besides, and what would be wrong instead.

A critic that is told *where the named colours are* and never which colours they are knows a new colour as
well as an old one. So colours leave the sentence ("push the COLOUR1 block to the COLOUR2 zone") and become
hues to look for.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import ImageColor

SLOTS = 2  # colours an instruction may name; further ones are not looked for
# for wrong instructions: what to say for a phrase to ask for something else
OPPOSITES = {
    'open': 'close',
    'close': 'open',
    'top': 'bottom',
    'bottom': 'top',
    'left': 'right',
    'right': 'left',
    'in front of': 'behind',
    'behind': 'in front of',
}


@dataclass(frozen=True)
class Instruction:
    """What a critic reads of an instruction.

    Attributes:
        words: lower case, colours replaced by ``colour1``, ``colour2`` in the order they are named.
        colours: names of these colours, SLOTS at most.
    """

    words: tuple[str, ...]
    colours: tuple[str, ...]


@lru_cache(maxsize=4096)
def parse(text: str) -> Instruction:
    """Take an instruction apart. Colour names are those of CSS that have a hue, as Pillow knows them."""
    words: list[str] = []
    colours: list[str] = []
    for word in re.findall(r'[a-z0-9]+', text.lower()):
        if hue(word) is None:
            words.append(word)
            continue
        if word not in colours:
            colours.append(word)
        words.append(f'colour{colours.index(word) + 1}')
    return Instruction(tuple(words), tuple(colours[:SLOTS]))


@lru_cache(maxsize=512)
def hue(name: str) -> float | None:
    """Hue of a named colour in [0, 1); None for other words and for greys."""
    if name not in ImageColor.colormap:
        return None
    red, green, blue = (value / 255 for value in ImageColor.getrgb(name)[:3])
    shade, saturation, _ = colorsys.rgb_to_hsv(red, green, blue)
    return shade if saturation > 0.3 else None


def hues(text: str) -> np.ndarray:
    """Hues [SLOTS] of the colours an instruction names; NaN where it names fewer."""
    found = [hue(name) for name in parse(text).colours]
    return np.array([*found, *[np.nan] * (SLOTS - len(found))], np.float32)


def wrong_instructions(text: str, colours: Sequence[str], most: int = 4) -> list[str]:
    """Instructions that ask for something else in the same words, ``most`` at most; deterministic.

    Args:
        colours: that things may have; each named colour is exchanged for others.
    """
    named = parse(text).colours
    found: list[str] = []
    if len(named) == 2:
        found.append(_replaced(text, {named[0]: named[1], named[1]: named[0]}))
    others = [colour for colour in colours if colour not in named]
    # the colours in turn, so that a short list has some of each place
    for other in others:
        found += [_replaced(text, {colour: other}) for colour in named]
    for said, instead in OPPOSITES.items():
        if re.search(rf'\b{said}\b', text.lower()):
            found.append(re.sub(rf'\b{said}\b', instead, text.lower()))
    return list(dict.fromkeys(each for each in found if each.lower() != text.lower()))[:most]


def _replaced(text: str, names: dict[str, str]) -> str:
    pattern = '|'.join(map(re.escape, names))
    return re.sub(rf'\b({pattern})\b', lambda found: names[found[0].lower()], text, flags=re.IGNORECASE)
