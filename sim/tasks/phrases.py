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
