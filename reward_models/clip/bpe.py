# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A small byte-pair vocabulary for open_clip's SimpleTokenizer.

The stock vocabulary has 49408 tokens: at width 64 its table alone outweighs a small CLIP. The same
tokenizer reads a merges file of one's own (``bpe_path``); any text still encodes, down to bytes.
"""

from __future__ import annotations

import gzip
import itertools
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from apprentice.robot.files import replacing

BASE = 512  # bytes, and bytes that end a word
SPECIAL = 2  # start and end of text


def learn_merges(texts: Iterable[str], count: int) -> list[tuple[str, str]]:
    """The ``count`` most frequent byte-pair merges of ASCII texts, in order (fewer if words run out)."""
    words = Counter(word for text in texts for word in re.findall(r'[a-z]+', text.lower()))
    split = {word: (*word[:-1], word[-1] + '</w>') for word in words}
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in split.items():
            for pair in itertools.pairwise(parts):
                pairs[pair] += words[word]
        if not pairs:
            break
        # ties by spelling, so that the vocabulary is reproducible
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        split = {word: _merge(parts, best) for word, parts in split.items()}
    return merges


def write_merges(path: Path, merges: list[tuple[str, str]]) -> None:
    """Write the file SimpleTokenizer reads: a header line, then one merge a line."""
    text = '\n'.join(['#version: 0.2', *(' '.join(pair) for pair in merges)])
    with (
        replacing(path) as temporary,
        temporary.open('wb') as raw,
        gzip.GzipFile(filename='', mode='wb', fileobj=raw, mtime=0) as stream,
    ):
        stream.write(text.encode())


def vocabulary_size(merges: list[tuple[str, str]]) -> int:
    return BASE + len(merges) + SPECIAL


def _merge(parts: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for part in parts:
        if merged and (merged[-1], part) == pair:
            merged[-1] += part
        else:
            merged.append(part)
    return tuple(merged)
