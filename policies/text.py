# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Instructions as word tokens without a vocabulary file: each word is hashed to a bucket."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import torch

BUCKETS = 512
LENGTH = 10  # tokens; longer instructions are cut


def tokenize(texts: Sequence[str]) -> torch.Tensor:
    """int64 [B, LENGTH]; 0 is padding. CRC-32, unlike ``hash``, is the same in every process."""
    tokens = torch.zeros(len(texts), LENGTH, dtype=torch.int64)
    for row, text in enumerate(texts):
        for column, word in enumerate(re.findall(r'[a-z0-9]+', text.lower())[:LENGTH]):
            tokens[row, column] = 1 + zlib.crc32(word.encode()) % (BUCKETS - 1)
    return tokens
