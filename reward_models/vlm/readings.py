# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What is read from the probabilities of the next tokens: a number, one of several words, a whole word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.vlm.network import Branches

_PIECE = re.compile(r' ?[+-]?\d{0,4}')


class NumberReading:
    """Mean and deviation of the whole number a model would write next.

    VLAC replaces each digit by the expectation over the probable digit tokens (`rich` in its code, arXiv
    2509.15937). Here the expectation is over whole numbers: sign, first digit, second digit and so on are a
    tree of tokens, of which every branch more probable than ``least`` is followed; a branch that is not
    followed counts as ended. A number ends with the probability of whatever cannot continue it.

    Args:
        tokenizer: of the model.
        lowest, highest: of the numbers that count.
        least: probability below which a beginning is not followed.

    Raises RewardModelError if the tokenizer cannot write the numbers.
    """

    def __init__(self, tokenizer: Any, lowest: int, highest: int, least: float):
        numbers = {sign + str(abs(n)) for n in range(lowest, highest + 1) for sign in _signs(n)}
        self._numbers, self._least = numbers, least
        beginnings = {number[:end] for number in numbers for end in range(len(number) + 1)}
        pieces: dict[str, list[int]] = {}
        for token, text in _texts(tokenizer):
            if text.strip() and _PIECE.fullmatch(text):
                pieces.setdefault(text, []).append(token)
        # beginning -> (longer beginning, token); a space may stand before the first character alone
        self._next: dict[str, list[tuple[str, int]]] = {
            begun: [
                (begun + (piece.strip() if not begun else piece), token)
                for piece, tokens in pieces.items()
                if begun + (piece.strip() if not begun else piece) in beginnings
                for token in tokens
            ]
            for begun in beginnings
        }
        reachable, todo = set(), ['']
        while todo:
            begun = todo.pop()
            if begun not in reachable:
                reachable.add(begun)
                todo += [longer for longer, _ in self._next[begun]]
        lost = [
            number
            for number in range(lowest, highest + 1)
            if not any(sign + str(abs(number)) in reachable for sign in _signs(number))
        ]
        if lost:
            raise RewardModelError(
                f'the tokenizer has no tokens to write {lost[:3]}{" and more" if len(lost) > 3 else ""}; a '
                f'reading of numbers {lowest} to {highest} needs digits'
                f'{" and a minus sign" if lowest < 0 else ""} in the vocabulary: use another model'
            )

    def __call__(self, branches: Branches) -> np.ndarray:
        """float32 [N, 3]: mean, standard deviation, and the probability that a number is written at all."""
        count = len(branches)
        sums = np.zeros((count, 3))  # weight, weighted value, weighted square
        mass = np.zeros(count)
        owner, begun, weight = list(range(count)), [''] * count, np.ones(count)

        def ended(row: int, text: str, share: float) -> None:
            value = int(text)
            sums[row] += share, share * value, share * value * value

        first = True
        while owner:
            probs = branches.log_probs.exp().numpy().astype(float)
            rows: list[int] = []
            tokens: list[int] = []
            following: tuple[list[int], list[str], list[float]] = ([], [], [])
            for row, (whose, text, share) in enumerate(zip(owner, begun, weight, strict=True)):
                options = self._next[text]
                p = probs[row, [token for _, token in options]]
                stay = float(p.sum())
                if first:
                    mass[whose] = stay
                if text in self._numbers:
                    ended(whose, text, share * max(0.0, 1.0 - stay))
                else:  # an empty beginning or a sign: a digit must follow
                    p = p / max(stay, 1e-30)
                for (longer, token), q in zip(options, p, strict=True):
                    part = share * float(q)
                    if self._next[longer] and part >= self._least:
                        rows.append(row)
                        tokens.append(token)
                        following[0].append(whose)
                        following[1].append(longer)
                        following[2].append(part)
                    elif longer in self._numbers:
                        ended(whose, longer, part)
            owner, begun, weight = following[0], following[1], np.array(following[2])
            first = False
            if owner:
                branches = branches.extend(rows, tokens)
        total = np.maximum(sums[:, 0], 1e-30)
        mean = sums[:, 1] / total
        deviation = np.sqrt(np.maximum(sums[:, 2] / total - mean**2, 0.0))
        nothing = sums[:, 0] < 1e-12
        mean[nothing] = deviation[nothing] = np.nan
        return np.stack([mean, deviation, mass], axis=1).astype(np.float32)


class ChoiceReading:
    """Probability of each of several words as the next token, in any case, with a space before it or not.

    Raises RewardModelError for a word that is not one token of the tokenizer.
    """

    def __init__(self, tokenizer: Any, words: Sequence[str]):
        known: dict[str, list[int]] = {}
        for token, text in _texts(tokenizer):
            known.setdefault(text.strip().lower(), []).append(token)
        missing = [word for word in words if not known.get(word.lower())]
        if missing:
            raise RewardModelError(
                f'{", ".join(map(repr, missing))} is not one token of this tokenizer; give other words in '
                'the settings (yes, no), or use another model'
            )
        self._tokens = [known[word.lower()] for word in words]

    def __call__(self, branches: Branches) -> np.ndarray:
        """float32 [N, number of words]."""
        probs = branches.log_probs.exp().numpy()
        return np.stack([probs[:, tokens].sum(axis=1) for tokens in self._tokens], axis=1).astype(np.float32)


class WordReading:
    """Log-probability that the model writes a text next, all of its tokens.

    Raises RewardModelError for a text the tokenizer cannot write.
    """

    def __init__(self, tokenizer: Any, text: str):
        self._tokens: list[int] = tokenizer.encode(text, add_special_tokens=False)
        unknown = tokenizer.unk_token_id
        if not self._tokens or (unknown is not None and unknown in self._tokens):
            raise RewardModelError(
                f'{text!r} is not in this tokenizer; give another word in the settings (true), or use '
                'another model'
            )

    def __call__(self, branches: Branches) -> np.ndarray:
        """float32 [N, 1], nats."""
        total = np.zeros(len(branches))
        for place, token in enumerate(self._tokens):
            total += branches.log_probs[:, token].numpy()
            if place + 1 < len(self._tokens):
                branches = branches.extend(range(len(branches)), [token] * len(branches))
        return total[:, None].astype(np.float32)


def _signs(number: int) -> tuple[str, ...]:
    return ('-',) if number < 0 else ('', '+')


def _texts(tokenizer: Any) -> list[tuple[int, str]]:
    """(token, its text) of the whole vocabulary but special tokens; the marks of a space become spaces."""
    special = set(tokenizer.all_special_ids)
    return [
        (token, text.replace('Ġ', ' ').replace('▁', ' '))
        for text, token in tokenizer.get_vocab().items()
        if token not in special and isinstance(text, str)
    ]
