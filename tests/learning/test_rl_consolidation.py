# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Weights of what was executed, and a flow that learns what went well."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from chunk_rig import episode
from small_policy import small_policy

from apprentice.learning.replay import Replay
from apprentice.learning.rl.buffer import ChunkBuffer
from apprentice.learning.rl.consolidation import (
    ConsolidationConfig,
    advantages,
    consolidation_weights,
    episode_advantages,
)
from apprentice.learning.rl.core import CriticConfig, Critics
from apprentice.learning.rl.features import FeatureConfig, FrozenEncoder
from apprentice.learning.rl.windows import WindowConfig
from apprentice.learning.weighted_flow import WeightedFlow, WeightedFlowConfig
from apprentice.policies.prefix import Inputs
from apprentice.robot.types import Outcome


def test_weights_by_hand():
    """exp(A / 0.3) - 1 within 0 and 3 for the policy, 1 for a person; 0 before a takeover and for holding."""
    made = episode('ppppphhx')
    config = ConsolidationConfig(before_takeover_s=0.15)
    gain = np.array([0.0, 0.3, -0.3, 9e9, 0.0, 5.0, 5.0, 5.0])
    expected = [0, np.e - 1, 0, 3, 0, 1, 1, 0]
    assert consolidation_weights(made, gain, config).tolist() == pytest.approx(expected, rel=1e-6)
    failed = dataclasses.replace(made, outcome=Outcome.FAILURE)
    assert consolidation_weights(failed, gain, config).tolist() == [0] * 5 + [1, 1, 0]
    assert consolidation_weights(episode('pph'), None, config).tolist() == [0, 0, 1]
    everything = dataclasses.replace(config, own=1.0, human_failed=0.5)
    expected = [1, np.e, np.exp(-1), 3, 0, 1, 1, 0]
    assert consolidation_weights(made, gain, everything).tolist() == pytest.approx(expected, rel=1e-6)
    assert consolidation_weights(failed, gain, everything).tolist() == [0] * 5 + [0.5, 0.5, 0]
    # a pause before the takeover makes none of it good, a person who goes on after a pause takes nothing over
    config = ConsolidationConfig(before_takeover_s=0.35, own=1.0)
    assert consolidation_weights(episode('pppxxh'), None, config).tolist() == [1, 1, 0, 0, 0, 1]
    assert consolidation_weights(episode('pphhpxxp'), None, config)[4] == 1
    assert consolidation_weights(episode('xhxph'), None, config).tolist() == [0, 1, 0, 0, 1]


def test_an_advantage_is_the_value_over_the_candidates():
    encoder = FrozenEncoder(small_policy(), FeatureConfig(rows=3, candidates=2))
    held, made = ChunkBuffer(encoder, WindowConfig(rows=3, stride=2)), episode('pppppp')
    held.add(made)
    critics = Critics(held.sizes, CriticConfig(3, 2, hidden=(8,)), torch.Generator().manual_seed(0))
    start, batch = held.of('e')
    expected = []
    with torch.no_grad():
        for b in range(len(batch)):
            feature = batch.feature[b : b + 1]
            done = critics.values(feature, batch.action[b][None, None]).mean()
            planned = [critics.values(feature, batch.candidates[b, n][None, None]).mean() for n in range(2)]
            expected.append(float(done - sum(planned) / 2))
    assert advantages(critics, batch).tolist() == pytest.approx(expected, abs=1e-5)
    spread = episode_advantages(critics, held, made)
    assert spread[start].tolist() == pytest.approx(expected, abs=1e-5)
    assert spread[1] == pytest.approx((expected[0] + expected[1]) / 2, abs=1e-5)
    with pytest.raises(KeyError):
        episode_advantages(critics, held, dataclasses.replace(made, episode_id='other'))


@pytest.mark.parametrize('seed', [0, 1])
def test_a_flow_of_two_modes_learns_the_good_one(seed):
    """Known: half of the data moves the base by one deviation to either side; only one was an advantage."""
    policy = small_policy()
    spec = policy.spec
    config = WeightedFlowConfig(learning_rate=4e-3, batch=24, shift=0, light=0.0, freeze_backbone=True)
    flow = WeightedFlow(policy.train(), config, seed)
    gains: dict[str, np.ndarray] = {}
    replay = Replay(spec, weigh=lambda made: consolidation_weights(made, gains[made.episode_id]))
    for number, side in enumerate([1.0, -1.0] * 4):
        made = episode('p' * 12, name=str(number), seed=number)
        made.state[:] = spec.state.mean
        made.action[:] = spec.state.mean * np.asarray(spec.relative) + spec.action.mean
        made.action[:, 0] += side * spec.action.std[0]
        gains[made.episode_id] = np.full(12, 1.0 if side > 0 else -3.0)
        assert replay.add(made) == (12 if side > 0 else 0)
    rng = np.random.default_rng(seed)
    assert not any(flow.update(replay.sample(24, rng))['skipped'] for _ in range(70))
    images = {name: torch.from_numpy(stack[:6]) for name, stack in made.images.items()}
    inputs = Inputs(images, torch.from_numpy(made.state[:6]), [made.task] * 6)
    chunks = policy.eval().candidates(inputs, 16, torch.Generator().manual_seed(seed))
    base = policy.normalize_actions(chunks.flatten(0, 1), inputs.state.repeat_interleave(16, 0))[..., 0]
    assert float((base > 0).float().mean()) > 0.9
    assert float(base.mean()) == pytest.approx(1.0, abs=0.25)


def test_what_weighs_nothing_is_not_drawn_and_a_later_judgement_takes_it_away():
    weight = {'0': np.zeros(3, np.float32)}
    replay = Replay(small_policy().spec, weigh=lambda made: weight[made.episode_id])
    assert replay.add(episode('ppp', name='0')) == 0
    assert replay.empty
    weight['0'] = np.array([0, 1, 1], np.float32)
    replay.reweigh()
    assert not replay.empty
    weight['0'] = np.zeros(3, np.float32)
    replay.reweigh()
    assert replay.empty
