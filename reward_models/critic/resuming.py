# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Which training of a critic a state belongs to; see :mod:`apprentice.reward_models.resuming`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from apprentice.reward_models.critic.batches import CriticTraining, LabelledFrames


def fingerprint(data: LabelledFrames, settings: CriticTraining, config: dict[str, Any]) -> str:
    """What a training depends on besides its random numbers: a state of another one is not its state."""
    digest = hashlib.sha256(json.dumps([asdict(settings), config, data.text]).encode())
    digest.update(data.success.tobytes())
    for emb in data.emb:
        digest.update(emb.tobytes())
    return digest.hexdigest()
