# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Embeddings of texts, so that an instruction is encoded once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np


class TextCache:
    """(model, text) to its embedding, the texts used last. Thread-safe; may be shared between encoders.

    Args:
        limit: texts that are kept.

    Attributes:
        hits, misses: texts that were found and that were encoded.
    """

    def __init__(self, limit: int = 8192):
        self.limit, self.hits, self.misses = limit, 0, 0
        self._texts: OrderedDict[tuple[str, str], np.ndarray] = OrderedDict()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def used_bytes(self) -> int:
        """Of the embeddings that are kept."""
        with self._lock:
            return sum(emb.nbytes for emb in self._texts.values())

    def get(self, model: str, texts: Sequence[str], encode: Callable[[list[str]], np.ndarray]) -> np.ndarray:
        """Embeddings float32 [N, D] of ``texts``; ``encode`` is called once with those that are new.

        Args:
            model: version of what encodes; another one never sees these embeddings.
        """
        # held while encoding, so that two threads do not encode the same text
        with self._lock:
            wanted = list(dict.fromkeys(texts))
            known = {text: self._texts[model, text] for text in wanted if (model, text) in self._texts}
            new = [text for text in wanted if text not in known]
            if new:
                known.update(zip(new, encode(new), strict=True))
            self.hits += len(texts) - len(new)
            self.misses += len(new)
            for text in wanted:
                self._texts[model, text] = known[text]
                self._texts.move_to_end((model, text))
            while len(self._texts) > self.limit:
                self._texts.popitem(last=False)
        return np.stack([known[text] for text in texts])
