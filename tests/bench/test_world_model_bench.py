# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the world-model bench counts, and that its moments are what the simulator does."""

import torch._dynamo  # isort: skip # noqa: F401 - before the first GL context of this process

import numpy as np
import pytest

from apprentice.bench.candidate_chunks import KINDS, moments
from apprentice.bench.world_model import Judged, accuracy, gain, judge, pairs, true_returns
from apprentice.policies import checkpoint
from apprentice.reward_models.world_model.reward import WorldModelReward
from apprentice.robot.parts import find_robot, share
from apprentice.robot.spec import RobotSpec
from apprentice.sim.worlds import Worlds


def test_pairs_count_where_returns_differ_and_ties_are_half_right():
    returns = np.array([0.0, -1.0, -1.05, -3.0])
    assert pairs(np.array([1.0, 2.0, 3.0, 4.0]), returns, 0.2) == (5.0, 5)
    assert pairs(np.array([4.0, 3.0, 2.0, 1.0]), returns, 0.2) == (0.0, 5)
    assert pairs(np.ones(4), returns, 0.2) == (2.5, 5)
    assert pairs(np.ones(4), returns, 99.0) == (0.0, 0)


@pytest.fixture(scope='module')
def found():
    spec = RobotSpec.load(find_robot('sim_arm'))
    policy, _ = checkpoint.load(share('weights', 'policy'))
    worlds = Worlds(spec, len(KINDS))
    try:
        yield [list(moments(worlds, policy, [7], 2, 8)) for _ in range(2)]
    finally:
        worlds.close()


def test_moments_are_the_same_for_the_same_seed(found):
    first, second = found
    assert len(first) == 2
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.chunks, b.chunks)
        np.testing.assert_array_equal(a.seconds, b.seconds)
        np.testing.assert_array_equal(a.after, b.after)


def test_moments_hold_what_they_say(found):
    for moment in found[0]:
        n = len(KINDS)
        assert moment.chunks.shape == (n, 8, len(moment.state))
        assert moment.after.shape[0] == n
        assert (moment.seconds > 0).all()
        assert ((moment.progress >= 0) & (moment.progress <= 1)).all()
        # what was demonstrated leads there; chunks that differ are seen to differ
        assert len({chunk.tobytes() for chunk in moment.chunks}) == n
        assert len({frames.tobytes() for frames in moment.after}) > n / 2


def test_the_truth_itself_ranks_perfectly_and_its_opposite_never(found):
    items = [
        Judged(
            moment, {'truth': -true_returns(moment, 'seconds'), 'lie': true_returns(moment, 'seconds')}, 1.0
        )
        for moment in found[0]
    ]
    truth, lie = (accuracy(items, name, 'seconds', 0.2) for name in ('truth', 'lie'))
    assert truth['pairs'] == lie['pairs'] > 0
    assert (truth['accuracy'], truth['regret'], lie['accuracy']) == (1.0, 0.0, 0.0)
    assert lie['regret'] > 0
    assert gain(truth, lie) == (1.0, 1.0, 1.0)


def test_shipped_weights_rank_better_than_chance(found):
    model = WorldModelReward.load(share('weights', 'world_model'))
    items = [judge(model, moment, np.random.default_rng(0)) for moment in found[0]]
    for name in ('sub', 'sum', 'seen: sum'):
        assert accuracy(items, name, 'seconds', 0.2)['accuracy'] > 0.7, name
    assert (
        max(
            np.median(model.candidates(m.views, m.state, m.chunks, model.encode(m.end)).ood) for m in found[0]
        )
        < 3
    )
    assert share('weights', 'world_model', 'world_model.safetensors').stat().st_size < 1.5e6
