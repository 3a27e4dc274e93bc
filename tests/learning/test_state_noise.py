# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Noise on the joints that the network sees: where it goes in, and where it must not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from clone_rig import ALGORITHM, ROBOT, SMALL, make_episodes
from preference_rig import make_pairs, make_policy, quiet

from apprentice.learning.dataset import Chunks, policy_spec
from apprentice.learning.preference.flow_dpo import FlowDpo
from apprentice.learning.weighted_flow import FlowObjective, WeightedFlow
from apprentice.policies.flow import flow_loss
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Inputs

NOISY = dataclasses.replace(ALGORITHM, shift=0, light=0.0, state_noise=0.5)


@pytest.fixture(scope='module')
def policy() -> FlowPolicy:
    torch.manual_seed(0)
    return FlowPolicy(policy_spec(make_episodes(), ROBOT, 8), SMALL)


def test_the_size_is_in_standard_deviations_of_the_data(policy):
    trained = WeightedFlow(policy, NOISY, seed=1)
    draws = trained.draw(4000, ['front'])
    state = torch.zeros(4000, 7)
    noise = draws.disturb(state, policy).numpy()
    np.testing.assert_allclose(noise.std(0), 0.5 * policy.spec.state.std, rtol=0.06)
    np.testing.assert_allclose(noise.mean(0), 0.0, atol=0.05 * float(np.max(policy.spec.state.std)))


def test_the_network_sees_it_and_the_target_does_not(policy):
    draws = WeightedFlow(policy, NOISY, seed=1).draw(8, ['front'])
    batch = Chunks.of(make_episodes()[0], 8).select(np.arange(8)).tensors()
    with torch.no_grad():
        found = FlowObjective(policy, NOISY)(batch, draws)['loss']
        seen = batch.inputs.state + draws.state * torch.as_tensor(policy.spec.state.std, dtype=torch.float32)
        prefix = policy.encode(Inputs(batch.inputs.images, seen, batch.inputs.text))
        target = policy.normalize_actions(batch.actions, batch.inputs.state)
        noise, time = draws.noise[:, 0], draws.time[:, 0].expand(8, 8)
        expected = flow_loss(policy.expert, prefix, target, noise, time, batch.valid)
    mean = (batch.weight * expected).sum() / batch.weight.sum()
    assert float(found) == pytest.approx(float(mean), rel=1e-5)


def test_nothing_is_drawn_without_it_or_without_augmentation(policy):
    assert WeightedFlow(policy, ALGORITHM).draw(4, ['front']).state is None
    assert WeightedFlow(policy, NOISY).draw(4).state is None  # measured, not trained


def test_one_noise_for_winner_and_loser():
    pairs = make_pairs().select([0, 1, 2])
    quietly = FlowDpo(make_policy(), quiet(), seed=3)
    noisy = FlowDpo(make_policy(), quiet(state_noise=0.5), seed=3)
    draws = noisy.draw(3, ['front'])
    plain = quietly._tensors(pairs, quietly.draw(3, ['front'])).inputs.state
    disturbed = noisy._tensors(pairs, draws).inputs.state
    added = draws.state * torch.as_tensor(noisy.policy.spec.state.std, dtype=torch.float32)
    assert added.abs().max() > 0
    torch.testing.assert_close(disturbed, plain + added.repeat(len(plain) // 3, 1))
