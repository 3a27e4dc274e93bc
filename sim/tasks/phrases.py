# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Instructions understood as a whole: one word more may turn a meaning around."""

from __future__ import annotations

import re

from apprentice.sim.tasks.things import COLOURS, words

COLOUR = f'({"|".join(COLOURS)})'  # a group of a pattern for :func:`matched`


def matched(instruction: str, pattern: str) -> re.Match[str] | None:
    """The match of a regular expression with all the words of an instruction, or None.

    Case, punctuation and a "please" at either end do not count.
    """
    return re.fullmatch(f'(?:please )?(?:{pattern})(?: please)?', ' '.join(words(instruction)))


def colour_asked(instruction: str, pattern: str, example: str) -> str:
    """The colour in an instruction that fits ``pattern``, whose first group is a colour.

    Raises ValueError for any other instruction, with what to say instead: ``example``.
    """
    found = matched(instruction, pattern)
    if found is None:
        raise ValueError(
            f'{instruction!r} is not understood; say {example}, with one colour of {sorted(COLOURS)}'
        )
    return found[1]
