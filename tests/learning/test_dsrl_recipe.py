# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A recipe with DSRL through the learner: it learns from episodes, steers the noise, is published."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from clone_rig import ALGORITHM, ROBOT, SMALL, make_episode
from test_online_recipe import ONLINE, mixed, observation

from apprentice.learning.dataset import policy_spec
from apprentice.learning.learner import Learner, LearnerConfig
from apprentice.learning.recipe import load_recipe
from apprentice.learning.rl.choosing import Choosing, load_choosing
from apprentice.learning.rl.online import OnlineConfig, OnlineCritics
from apprentice.learning.rl.windows import WindowConfig
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy, inputs_of
from apprentice.robot.parts import share

HORIZON = 8
DSRL = dataclasses.replace(
    ONLINE,
    part='apprentice.learning.rl.dsrl:Dsrl',
    settings={'critic': {'members': 2, 'hidden': [16]}, 'hidden': [16]},
    features=dataclasses.replace(ONLINE.features, rows=0),
    windows=WindowConfig(rows=HORIZON),
)


def starter(folder, horizon: int = HORIZON):
    torch.manual_seed(0)
    policy = FlowPolicy(policy_spec([make_episode(i) for i in range(4)], ROBOT, horizon), SMALL)
    torch.nn.init.normal_(policy.expert.leave.weight, std=0.05)
    checkpoint.save(policy, folder, {'name': 'test'})
    return folder


def learner_of(folder, online: OnlineConfig = DSRL, **settings) -> Learner:
    online = dataclasses.replace(online, settings={**online.settings, **settings})
    config = LearnerConfig(updates_per_episode=4, warm_up=1, algorithm=ALGORITHM, online=online)
    return Learner(ROBOT, folder / 'run', starter(folder / 'starter'), config)


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_it_learns_from_episodes_steers_and_is_published(tmp_path):
    learner = learner_of(tmp_path)
    learner.show([make_episode(i) for i in range(4)])
    actor = learner.online.algorithm.actor.network
    before = [parameter.detach().clone() for parameter in actor.parameters()]
    metrics: dict[str, float] = {}
    for seed in range(10, 13):
        assert learner.take(mixed(seed))
        while learner.ready:
            metrics |= learner.update()
    assert {'critic_loss', 'distillation_loss', 'actor_loss'} <= set(metrics)
    assert not any(metrics[name] for name in ('skipped', 'actor_skipped', 'distillation_skipped'))
    assert any(not torch.equal(one, other) for one, other in zip(before, actor.parameters(), strict=True))

    seen, acting = observation(mixed(20)), learner.acting()
    assert isinstance(acting, Choosing)
    mine = acting.act(seen, seeded())
    # in evaluation the noise is the actor's, whatever is drawn; exploring it is drawn around it
    np.testing.assert_array_equal(acting.act(seen, seeded(6)), mine)
    acting.explore = True
    explored = [acting.act(seen, seeded(seed)) for seed in (5, 5, 6)]
    np.testing.assert_array_equal(explored[0], explored[1])
    assert np.abs(explored[0] - explored[2]).max() > 1e-4

    published = learner.publish(metrics)
    policy, manifest = checkpoint.load(published.folder, published.sha256)
    loaded = load_choosing(published.folder, policy, manifest)
    assert isinstance(loaded, Choosing)
    np.testing.assert_allclose(loaded.act(seen, seeded()), mine, atol=1e-6)

    acting.explore = False
    with torch.no_grad():
        for parameter in actor.parameters():
            parameter.add_(0.3)
    assert np.abs(acting.act(seen, seeded()) - mine).max() > 1e-4


def test_the_chunk_is_the_policys_own_from_the_steered_noise(tmp_path):
    """And the noise kept with the candidates is what they come of: the two functions are one."""
    policy, _ = checkpoint.load(starter(tmp_path))
    critics = OnlineCritics(policy, DSRL)
    critics.add(mixed(10))
    entry, batch = critics.buffer.of('e10')
    row = observation(mixed(10), int(entry[0]))
    inputs = inputs_of([row], policy.spec)
    again = policy.candidates(inputs, 2, noise=batch.noise[:1])
    kept = policy.denormalize_actions(batch.candidates[0], inputs.state.expand(2, -1))
    torch.testing.assert_close(again[0], kept, atol=5e-3, rtol=0)  # they are kept as float16
    acting = critics.choosing(policy)
    noise = critics.algorithm.noise(acting._see(inputs, [0.0]))
    steered = policy.candidates(inputs, 1, noise=noise[:, None])[0, 0].numpy()
    np.testing.assert_allclose(acting.act(row), steered, atol=1e-5)


@pytest.mark.parametrize(
    ('settings', 'reason'), [({'variant': 'sac'}, 'use the variant na'), ({'repeat': True}, 'repeat false')]
)
def test_what_episodes_cannot_teach_is_refused_at_the_start(settings, reason, tmp_path):
    with pytest.raises(ValueError, match=reason):
        learner_of(tmp_path, **settings)


def test_parts_of_chunks_are_refused_at_the_start(tmp_path):
    online = dataclasses.replace(DSRL, features=ONLINE.features, windows=ONLINE.windows)
    with pytest.raises(ValueError, match=r'set features.rows to 0 and windows.rows to 8'):
        learner_of(tmp_path, online)
    with pytest.raises(ValueError, match='windows of 8 rows, candidates of 16'):
        OnlineCritics(checkpoint.load(starter(tmp_path / 'long', 16))[0], DSRL)


def test_the_shipped_recipe_fits_the_starter_policy():
    online = load_recipe('dsrl').online
    policy, _ = checkpoint.load(share('weights', 'policy'))
    assert OnlineCritics(policy, online).algorithm.sizes.rows == policy.spec.horizon
