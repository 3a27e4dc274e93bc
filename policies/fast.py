# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""FAST action tokens: a chunk as a short sequence of tokens (arXiv 2501.09747).

Each joint is scaled so that the 1 % and 99 % quantiles of training lie at -1 and 1, transformed along time
by an orthonormal discrete cosine transform (DCT), and rounded; the integers of all joints, low frequencies
first, are packed by byte-pair encoding (BPE). Decoding needs horizon and joints of training, which the
tokenizer therefore carries.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # at run time only where there is a token head
    from tokenizers import Tokenizer

# integers are written as characters of Unicode's private use area: no text processing touches them
_FIRST, _CHARACTERS = 0xE000, 6400


class FastTokenizer:
    """Chunks [H, A] to token ids and back.

    Made by :meth:`fit` or :meth:`from_dict`. The first ids are the integers -bound to bound themselves, so
    any chunk can be written; each further one joins two earlier ones.

    Args:
        low, high: [A], what becomes -1 and 1.
        horizon: rows of a chunk, H.
        scale: DCT coefficients are multiplied by this before they are rounded.
        margin: scaled values beyond +-margin are clipped. 1.5 leaves a quarter of the range at each end.
        merges: pairs of ids; the i-th makes the next id, unless the same numbers have one already.

    Raises ValueError for numbers that cannot be used.
    """

    def __init__(
        self,
        low: np.ndarray,
        high: np.ndarray,
        horizon: int,
        scale: float = 10.0,
        margin: float = 1.5,
        merges: Sequence[tuple[int, int]] = (),
    ):
        self.low, self.high = np.asarray(low, np.float64), np.asarray(high, np.float64)
        self.horizon, self.scale, self.margin = int(horizon), float(scale), float(margin)
        ordered = self.low.ndim == 1 and self.low.shape == self.high.shape and np.all(self.low < self.high)
        if not ordered or not np.all(np.isfinite([self.low, self.high])):
            raise ValueError(
                f'action ranges {self.low} to {self.high}; give finite numbers, low below high for each joint'
            )
        if self.horizon < 1 or not (0 < self.scale < np.inf) or not (1 <= self.margin < np.inf):
            raise ValueError(
                f'horizon {horizon}, scale {scale}, margin {margin}; use a horizon of 1 or more, a positive '
                'scale, and a margin of 1 or more'
            )
        # an orthonormal DCT of values within +-margin stays within +-margin * sqrt(H)
        self.bound = int(np.ceil(self.scale * self.margin * np.sqrt(self.horizon)))
        if self.alphabet > _CHARACTERS:
            raise ValueError(f'{self.alphabet} different coefficients; use a smaller scale or margin')
        self.merges = [(int(a), int(b)) for a, b in merges]
        pieces = [chr(_FIRST + i) for i in range(self.alphabet)]
        ids = {piece: i for i, piece in enumerate(pieces)}
        joined = []
        for a, b in self.merges:
            if not (0 <= a < len(pieces) and 0 <= b < len(pieces)):
                raise ValueError(f'the merge {a}, {b} names a later token; the tokenizer is damaged')
            joined.append((pieces[a], pieces[b]))
            piece = pieces[a] + pieces[b]
            if piece not in ids:
                ids[piece] = len(pieces)
                pieces.append(piece)
        self._pieces = [np.array([ord(c) - _FIRST - self.bound for c in piece]) for piece in pieces]
        self._bpe = _byte_pairs(ids, joined)

    @property
    def alphabet(self) -> int:
        """How many different coefficients there are."""
        return 2 * self.bound + 1

    @property
    def size(self) -> int:
        """How many tokens there are; ids are 0 to size - 1."""
        return len(self._pieces)

    @property
    def dim(self) -> int:
        return len(self.low)

    @property
    def coefficients(self) -> int:
        """How many coefficients a chunk has, H * A: the longest sequence, too."""
        return self.horizon * self.dim

    @property
    def lengths(self) -> np.ndarray:
        """How many coefficients each token stands for, int [size]."""
        return np.array([len(piece) for piece in self._pieces])

    @classmethod
    def fit(
        cls,
        chunks: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
        vocabulary: int = 1024,
        min_frequency: int = 10,
        scale: float = 10.0,
        margin: float = 1.5,
    ) -> FastTokenizer:
        """A tokenizer for chunks such as ``chunks`` [N, H, A].

        Args:
            low, high: [A], 1 % and 99 % quantiles of the values, as in ``robot.normalize.Statistics``.
            vocabulary: tokens at most. FAST takes 1024 or 2048; little data ends below, see min_frequency.
            min_frequency: two tokens that follow each other are joined if they do so this often, so that
                a model sees each token a number of times.

        Raises ValueError for no or non-finite chunks, and for a vocabulary smaller than the alphabet.
        """
        if len(chunks) == 0:
            raise ValueError('no chunks to fit action tokens to; record some demonstrations first')
        plain = cls(low, high, chunks.shape[1], scale, margin)
        if vocabulary < plain.alphabet:
            raise ValueError(
                f'{vocabulary} tokens cannot hold the {plain.alphabet} values of a coefficient; '
                'use a larger vocabulary, or a smaller scale or margin'
            )
        from tokenizers import trainers

        bpe = _byte_pairs()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            min_frequency=min_frequency,
            show_progress=False,
            initial_alphabet=[chr(_FIRST + i) for i in range(plain.alphabet)],
        )
        bpe.train_from_iterator(map(plain._write, plain.transform(chunks)), trainer)
        ids, merges = {chr(_FIRST + i): i for i in range(plain.alphabet)}, []
        for a, b in json.loads(bpe.to_str())['model']['merges']:
            merges.append((ids[a], ids[b]))
            ids.setdefault(a + b, len(ids))
        return cls(low, high, plain.horizon, scale, margin, merges)

    def transform(self, chunks: np.ndarray) -> np.ndarray:
        """Rounded coefficients, int [N, H * A], lowest frequency of all joints first.

        Raises ValueError for chunks of another shape or that are not finite.
        """
        from scipy.fft import dct

        chunks = np.asarray(chunks, np.float64)
        if chunks.ndim != 3 or chunks.shape[1:] != (self.horizon, self.dim):
            raise ValueError(
                f'chunks are {chunks.shape}, the tokenizer was made for [N, {self.horizon}, {self.dim}]'
            )
        if not np.all(np.isfinite(chunks)):
            raise ValueError('a chunk holds NaN or infinity; leave it out')
        scaled = np.clip(2 * (chunks - self.low) / (self.high - self.low) - 1, -self.margin, self.margin)
        return np.rint(self.scale * dct(scaled, axis=1, norm='ortho')).astype(int).reshape(len(chunks), -1)

    def encode(self, chunks: np.ndarray) -> list[list[int]]:
        """Token ids of chunks [N, H, A]; sequences differ in length. Raises as :meth:`transform`."""
        return [self._bpe.encode(self._write(row)).ids for row in self.transform(chunks)]

    def decode(self, tokens: Sequence[int]) -> np.ndarray:
        """The chunk [H, A] that a sequence stands for, never beyond low and high by more than the margin.

        Raises ValueError for unknown ids and for a sequence that has not exactly H * A coefficients:
        a model may make those unless it is held to :attr:`lengths`.
        """
        from scipy.fft import idct

        unknown = [int(t) for t in tokens if not 0 <= t < self.size]
        if unknown:
            raise ValueError(f'tokens {unknown[:3]} do not exist; ids are 0 to {self.size - 1}')
        numbers = np.concatenate([np.zeros(0), *(self._pieces[t] for t in tokens)])
        if len(numbers) != self.coefficients:
            raise ValueError(
                f'{len(tokens)} tokens make {len(numbers)} coefficients, {self.horizon} x {self.dim} make '
                f'a chunk: {self.coefficients}. The sequence is none'
            )
        scaled = idct(numbers.reshape(self.horizon, self.dim) / self.scale, axis=0, norm='ortho')
        scaled = np.clip(scaled, -self.margin, self.margin)
        return (scaled + 1) / 2 * (self.high - self.low) + self.low

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            'low': self.low.tolist(),
            'high': self.high.tolist(),
            'horizon': self.horizon,
            'scale': self.scale,
            'margin': self.margin,
            'merges': [f'{a} {b}' for a, b in self.merges],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> FastTokenizer:
        """Read what :meth:`to_dict` wrote. Raises ValueError for missing or unusable fields."""
        try:
            merges = [pair.split() for pair in data.get('merges', ())]
            return cls(**{**data, 'merges': [(int(a), int(b)) for a, b in merges]})
        except (TypeError, AttributeError) as error:
            raise ValueError(f'action tokenizer: {error}; copy the checkpoint again') from error

    def _write(self, numbers: np.ndarray) -> str:
        return ''.join(chr(_FIRST + self.bound + int(n)) for n in numbers)


def hold(chunks: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Chunks [N, H, A] whose rows after the leading ``valid`` ones (bool [N, H]) repeat the last of these.

    Tokens stand for whole chunks, so rows past the end of an episode or after a change of driver cannot be
    left out: the robot is shown to stay where it got.
    """
    last = np.maximum(valid.sum(1), 1) - 1
    rows = np.minimum(np.arange(chunks.shape[1])[None], last[:, None])
    return np.take_along_axis(chunks, rows[..., None], 1)


def _byte_pairs(ids: dict[str, int] | None = None, merges: list[tuple[str, str]] | None = None) -> Tokenizer:
    """A byte-pair encoder that takes a whole text as one word."""
    from tokenizers import Tokenizer, models

    return Tokenizer(models.BPE(vocab=ids, merges=merges))
