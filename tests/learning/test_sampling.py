# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A policy's noise is its episode's own: the same whatever runs beside it, another one at every turn."""

import contextlib

import numpy as np
import pytest
import torch

from apprentice.learning.sampling import load_policy
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Observation
from apprentice.sim.rollout import RolloutConfig, rollouts
from apprentice.sim.worlds import Worlds

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))


def observation() -> Observation:
    rng = np.random.default_rng(0)
    images = {c.name: rng.integers(0, 255, (c.height, c.width, 3), dtype=np.uint8) for c in SPEC.cameras}
    return Observation(1.0, images, SPEC.vector('home'), 'pick up the red cube')


@pytest.fixture(scope='module', autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_turn_has_its_noise_whoever_is_in_the_batch():
    act = load_policy('policy', SPEC).act.act
    seen = observation()
    turns = [(7, 0, 0), (8, 0, 0), (7, 1, 0), (7, 0, 4)]
    together = act([seen] * 4, turns)
    for turn, chunk in zip(turns, together, strict=True):
        np.testing.assert_allclose(act([seen], [turn])[0], chunk, atol=1e-4)
    apart = [np.abs(a - b).max() for i, a in enumerate(together) for b in together[:i]]
    assert min(apart) > 1e-3, 'seed, repeat and step each make other noise'
    other = load_policy('policy', SPEC, seed=1).act.act
    assert np.abs(other([seen], [turns[0]])[0] - together[0]).max() > 1e-3


def test_an_episode_does_not_depend_on_how_many_run_beside_it():
    act, config = load_policy('', SPEC).act, RolloutConfig(max_duration_s=0.8, eval_only=True)
    with contextlib.closing(Worlds(SPEC, 3)) as many, contextlib.closing(Worlds(SPEC, 1)) as one:
        together = {e.seed: e for e in rollouts(many, [900_000, 900_001, 900_002], act, config)}
        (alone,) = rollouts(one, [900_002], act, config)
    np.testing.assert_allclose(alone.action, together[900_002].action, atol=1e-4)


def test_a_loaded_policy_says_which_it_is(monkeypatch):
    policy = load_policy('', SPEC)
    assert policy.name == 'policy (behaviour cloning)'
    assert len(policy.sha256) == 64
    monkeypatch.chdir(policy.folder)
    assert load_policy('.', SPEC).name == policy.name
    with pytest.raises(ValueError, match='use 0 or more'):
        load_policy('', SPEC, seed=-1)
