# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The shipped policy as a learner of the default recipe publishes it: with critics beside it."""

from __future__ import annotations

from pathlib import Path

from apprentice.learning.rl.features import FeatureConfig
from apprentice.learning.rl.online import OnlineConfig, OnlineCritics
from apprentice.learning.weights import Published, WeightStore
from apprentice.policies import checkpoint
from apprentice.robot.parts import share


def publish(folder: Path, act_after: int = 0) -> tuple[Published, OnlineCritics]:
    """A version in ``folder``, and its critics; they are random, so they choose, but not well.

    With ``act_after`` they do not choose yet and lie there for a rollback.
    """
    policy, _ = checkpoint.load(share('weights', 'policy'))
    config = OnlineConfig(
        act_after=act_after,
        settings={'critic': {'members': 2, 'hidden': [16]}, 'hidden': [16]},
        features=FeatureConfig(candidates=4, rows=4, potential=False),
    )
    critics = OnlineCritics(policy, config)
    return WeightStore(folder).publish(policy, {'name': 'learned'}, critics.beside()), critics
