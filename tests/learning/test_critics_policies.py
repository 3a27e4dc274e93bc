# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Which policies critics of the default recipe can be put beside."""

import dataclasses

import numpy as np
import pytest
import torch
from clone_rig import ROBOT, SMALL, make_episode, vision_language_config
from test_online_recipe import ONLINE, observation

from apprentice.learning.dataset import policy_spec
from apprentice.learning.rl.features import FeatureConfig, FrozenEncoder
from apprentice.learning.rl.online import OnlineCritics
from apprentice.policies.policy import FlowPolicy, inputs_of
from apprentice.policies.token_head import TokenConfig


def test_a_policy_whose_chunks_critics_cannot_judge_is_told_another_recipe():
    shown = [make_episode(i) for i in range(4)]
    short = FlowPolicy(policy_spec(shown, ROBOT, 3), SMALL)
    with pytest.raises(ValueError, match=r'judge 4 rows, a chunk of this policy has 3; .*weighted_flow'):
        OnlineCritics(short, ONLINE)
    tokens = TokenConfig(width=32, layers=1, heads=2, vocabulary=64)
    fast = FlowPolicy(policy_spec(shown, ROBOT, 8), dataclasses.replace(SMALL, tokens=tokens, head='fast'))
    with pytest.raises(ValueError, match=r'the head fast of this policy acts.*weighted_flow'):
        OnlineCritics(fast, ONLINE)


def test_a_vision_language_policy_is_told_things_of_different_lengths(tmp_path):
    """Its prompts are padded to the longest of a batch; features are of one size nevertheless."""
    pytest.importorskip('transformers', reason="needs pip install 'apprentice[vla]'")
    from apprentice.bench.small_vlm import FAMILIES

    FAMILIES['smolvlm'](tmp_path / 'model', context=96)
    tasks = ['push', 'pick up the red cube', 'pick up the red cube and put it gently into the green bowl']
    made = [make_episode(i, task=task) for i, task in enumerate(tasks)]
    policy = FlowPolicy(policy_spec(made, ROBOT, 8), vision_language_config(tmp_path / 'model').policy)
    encoder = FrozenEncoder(policy, FeatureConfig('tokens', 4, candidates=1, rows=4, potential=False))
    encoder.fit(made[:2], stride=2)
    seen = [encoder.moments(episode, np.arange(2)).feature for episode in made]
    assert all(each.shape == (2, 4) and each.isfinite().all() for each in seen)
    inputs = inputs_of([observation(episode) for episode in made], policy.spec)
    together = encoder.summary(policy.encode(inputs))
    single = encoder.summary(policy.encode(inputs_of([observation(made[0])], policy.spec)))
    torch.testing.assert_close(together[:1], single, atol=1e-3, rtol=1e-3)  # whatever is beside it
