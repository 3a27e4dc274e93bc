# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the trunks of a critic make of frames under instructions: each is looked at once, and remembered.

A sample of an episode compares the present frame with earlier ones under several instructions, so most of
what it needs was looked at before.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import nn

from apprentice.reward_models.critic.eyes import Eye
from apprentice.reward_models.critic.network import Member

_BATCH = 512  # frames through a trunk at once
_KEPT = 256  # (frame, text) that are remembered; a minute of an episode under three instructions


class Looking:
    """Features by the trunks of all members, for one caller at a time."""

    def __init__(self, eye: Eye, members: nn.ModuleList):
        self._eye, self._members = eye, members
        self._known: OrderedDict[tuple[bytes, str], torch.Tensor] = OrderedDict()

    def features(self, emb: np.ndarray, text: Sequence[str]) -> torch.Tensor:
        """[N, members, width] of embeddings [N, V, D] under N texts."""
        keys = [
            (hashlib.blake2b(one.tobytes(), digest_size=16).digest(), said)
            for one, said in zip(emb, text, strict=True)
        ]
        first = {key: row for row, key in reversed(list(enumerate(keys)))}
        rows = [row for key, row in first.items() if key not in self._known]
        made = self._look(emb[rows], [text[row] for row in rows]) if rows else None
        found = {key: self._known[key] for key in first if key in self._known}
        found.update({keys[row]: made[i] for i, row in enumerate(rows)} if made is not None else {})
        if len(rows) <= _KEPT:  # a whole data set at once is not asked for again
            for key in first:
                self._known[key] = found[key]
                self._known.move_to_end(key)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return torch.stack([found[key] for key in keys])

    def _look(self, emb: np.ndarray, text: Sequence[str]) -> torch.Tensor:
        said, which = np.unique(np.asarray(text, dtype=object).astype(str), return_inverse=True)
        words = torch.from_numpy(self._eye.text(list(said))).to(self._eye.device)
        parts = []
        for start in range(0, len(emb), _BATCH):
            views = torch.from_numpy(np.ascontiguousarray(emb[start : start + _BATCH], np.float32))
            views = views.flatten(1).to(self._eye.device)
            asked = words[torch.from_numpy(which[start : start + _BATCH]).to(words.device)]
            members = cast('list[Member]', self._members)
            parts.append(torch.stack([member.trunk(views, asked) for member in members], dim=1))
        return torch.cat(parts)
