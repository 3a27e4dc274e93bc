# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The vocabulary of help by a person: five grades, and what a person is advised to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Grade(IntEnum):
    """How a person helps. Values equal GuidanceState.msg."""

    NONE = 0
    REPLAY = 1  # demonstrations are replayed in every batch
    RETURN_AND_EXPLORE = 2  # begin again where it fails
    GUIDED_EXPLORE = 3  # demonstrate from there
    TAKEOVER = 4  # take over while it acts


class AdviceKind(IntEnum):
    """What a person is advised to do. Values equal GuidanceState.msg."""

    NONE = 0
    TAKE_OVER = 1
    HAND_BACK = 2
    DEMONSTRATE = 3
    TAPER = 4


@dataclass(frozen=True)
class Advice:
    """Something a person may do or leave; who drives is decided by the gate.

    Attributes:
        reason: what triggered it, in words and numbers; with ``NONE`` a warning, or empty.
    """

    kind: AdviceKind = AdviceKind.NONE
    reason: str = ''
