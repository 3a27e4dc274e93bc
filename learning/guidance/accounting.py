# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What counts for whom: the moment before a takeover against the policy, successes only if it was alone.

Who drove a step comes from the gate alone: ``Episode.source`` and ``takeover_id`` are those of gate/executed.
"""

from __future__ import annotations

import numpy as np

from apprentice.robot.types import Source

# the policy's last seconds before a takeover are its mistake: Sirius weighs them down (arXiv 2211.08416)
BEFORE_TAKEOVER_S = 1.5


def takeovers(source: np.ndarray) -> np.ndarray:
    """Steps at which a person takes over from the policy, bool [T], from the source of every step [T].

    Steps at which nobody drove (hold, pause) may lie between; whoever drives first takes over from nobody.
    """
    rows = np.flatnonzero(np.isin(source, (int(Source.POLICY), int(Source.HUMAN))))
    human = source[rows] == int(Source.HUMAN)
    begins = np.zeros(len(source), bool)
    begins[rows[1:][human[1:] & ~human[:-1]]] = True
    return begins


def before_takeover(
    stamps: np.ndarray, source: np.ndarray, window_s: float = BEFORE_TAKEOVER_S
) -> np.ndarray:
    """Steps that the policy drove less than ``window_s`` before a person took over from it, bool [T].

    Args:
        stamps: float64 [T], seconds.
        source: uint8 [T], :class:`~apprentice.robot.types.Source`.
    """
    until = stamps[takeovers(source)][None] - stamps[:, None]
    # the difference of two stamps is rounded
    return ((until > 0) & (until <= window_s + 1e-6)).any(1) & (source == int(Source.POLICY))
