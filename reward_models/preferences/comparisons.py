# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Answers of people or models about pairs of clips, and how probable an answer is under two rewards."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from apprentice.reward_models.base import RewardModelError
from apprentice.robot.files import write_text

Answer = Literal['left', 'right', 'equal']
ANSWERS: tuple[Answer, ...] = get_args(Answer)


@dataclass(frozen=True)
class Comparison:
    """One answer: which of two clips of the same instruction is better.

    Attributes:
        left, right: numbers of the clips.
        answer: left, right or equal.
        weight: how much it counts, e.g. less for a model's answer than for a person's.
    """

    left: int
    right: int
    answer: Answer
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.answer not in ANSWERS:
            raise RewardModelError(f'answer is {self.answer!r}; use one of {ANSWERS}')
        if self.left == self.right or min(self.left, self.right) < 0:
            raise RewardModelError(
                f'a comparison needs two different clips, got {self.left} and {self.right}'
            )
        if not self.weight > 0:
            raise RewardModelError(f'weight is {self.weight}; it must be positive')


def as_arrays(comparisons: Iterable[Comparison]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs int64 [P, 2], answers int64 [P] (0 left, 1 right, 2 equal), weights float32 [P]."""
    items = list(comparisons)
    pairs = np.array([(c.left, c.right) for c in items], np.int64).reshape(-1, 2)
    answers = np.array([ANSWERS.index(c.answer) for c in items], np.int64)
    return pairs, answers, np.array([c.weight for c in items], np.float32)


def answer_log_probs(gap: torch.Tensor, tie: torch.Tensor | float, noise: float) -> torch.Tensor:
    """Log-probabilities of left, right and equal, [..., 3]: Bradley-Terry with Rao and Kupper's ties (1967).

    P(left) = sigmoid(gap - tie), P(right) = sigmoid(-gap - tie), equal is what remains. With the share
    ``noise`` of answers given at random::

        P'(answer) = (1 - noise) P(answer) + noise / 3

    Args:
        gap: reward of the left clip minus that of the right one, nats.
        tie: >= 0, log of Rao and Kupper's theta; 0: no ties, which is plain Bradley-Terry.
        noise: in [0, 1).
    """
    left, right = torch.sigmoid(gap - tie), torch.sigmoid(-gap - tie)
    p = torch.stack([left, right, (1 - left - right).clamp_min(0.0)], dim=-1)
    return ((1 - noise) * p + noise / 3).clamp_min(1e-12).log()


def read_comparisons(path: Path) -> list[Comparison]:
    """From JSON lines {"left": 3, "right": 8, "answer": "left"}. Raises RewardModelError naming the line."""
    found = []
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise RewardModelError(f'{path} cannot be read: {error}') from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(Comparison(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise RewardModelError(f'{path} line {number} is not a comparison: {error}') from None
    return found


def write_comparisons(path: Path, comparisons: Iterable[Comparison]) -> None:
    """As :func:`read_comparisons` reads them; the old file stays until the new one is complete."""
    write_text(path, ''.join(json.dumps(asdict(c)) + '\n' for c in comparisons))
