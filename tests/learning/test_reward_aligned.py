# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""RA-BC: steps weighed by the progress over a chunk, among what is gained in all episodes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chunk_rig import episode
from small_policy import small_policy

from apprentice.learning.advantage import AdvantageConfig, step_weights, usual_gain
from apprentice.learning.recipe import load_recipe
from apprentice.learning.replay import Replay
from apprentice.learning.reward_aligned import UsualGain, reward_aligned_weights
from apprentice.reward_models.pipeline import RewardPipeline
from apprentice.robot.settings import SettingsError
from apprentice.robot.types import Outcome

ALIGNED = AdvantageConfig(rule='ra_bc')
USUAL = UsualGain(0.01, 0.02)


def test_weights_by_hand():
    """Mean 0.01 and deviation 0.02: a gain of 0.005 lies (0.005 + 0.03) / 0.08 of the way."""
    found = reward_aligned_weights(np.array([0.005, 0.1, -0.001, 0.0]), USUAL, 0.01)
    assert found.tolist() == pytest.approx([0.035 / 0.08, 1, 0, 0.03 / 0.08], rel=1e-3)
    # more than kappa is 1, kappa itself is not
    found = reward_aligned_weights(np.array([0.01, 0.011]), USUAL, 0.01)
    assert found.tolist() == pytest.approx([0.5, 1], rel=1e-3)
    usual = UsualGain.of([np.array([0.1, 0.2, 0.0]), np.array([])])
    assert (usual.mean, usual.std) == pytest.approx((0.1, np.std([0.1, 0.2, 0.0])))
    assert UsualGain.of([np.array([])]) is None


def test_the_rule_weighs_the_policy_in_a_success_and_nothing_else():
    made = episode('pppxhhp', progress=[0.1, 0.105, 0.2, 0.15, 0.1, 0.1, 1.0])
    config = replace(ALIGNED, before_takeover_s=0.0)
    weight = step_weights(made, 1, config, usual=USUAL)
    # the second person's step gains 0.9, the first nothing: both weigh 1; holding weighs 0
    assert weight[:6].tolist() == pytest.approx([0.035 / 0.08, 1, 0, 0, 1, 1], rel=1e-3)
    assert weight[6] == pytest.approx(0.03 / 0.08, rel=1e-3)
    assert not np.allclose(weight, step_weights(made, 1, replace(config, rule='exponential')))
    failed = step_weights(replace(made, outcome=Outcome.FAILURE), 1, config, usual=USUAL)
    assert failed.tolist() == [0, 0, 0, 0, 0.5, 0.5, 0]
    # as before, too: before a takeover nothing counts, without a measurement the outcome does
    assert not step_weights(made, 1, ALIGNED, usual=USUAL)[:4].any()
    assert step_weights(episode('ppp'), 1, ALIGNED).tolist() == [1, 1, 1]
    half = step_weights(made, 1, replace(config, shaping_weight=0.5), usual=USUAL)
    assert half[:3].tolist() == pytest.approx([0.5 + 0.5 * 0.035 / 0.08, 1, 0.5], rel=1e-3)


def test_a_pipeline_gives_its_potential_and_its_trust(tmp_path):
    made = episode('pppp', progress=[0.1, 0.1, 0.05, 0.3])
    path = tmp_path / 'rewards.yaml'
    text = 'models: [{model: critic, uncalibrated: true}]\nensemble: {penalty: 0.0}\n'
    path.write_text(text + 'trust: {sigma: null, margin: null, ood: null}\nshaping: {discount: 0.5}\n')
    found = step_weights(made, 1, ALIGNED, RewardPipeline.load(path), USUAL)
    # not the shaped reward, which is 0.5 * 0.1 - 0.1 for standing still
    np.testing.assert_allclose(found[:3], [0.03 / 0.08, 0, 1], rtol=1e-3)
    np.testing.assert_allclose(found[:3], step_weights(made, 1, ALIGNED, usual=USUAL)[:3], rtol=1e-6)


def test_what_is_usual_is_of_driven_steps():
    made = episode('pxp', progress=[0.0, 0.5, 1.0])
    usual = usual_gain([made, episode('pp')], 1, ALIGNED)
    assert (usual.mean, usual.std) == pytest.approx((0.25, 0.25))  # 0.5 and, at the end, 0
    assert usual_gain([episode('pp')], 1, ALIGNED) is None


def test_the_replay_weighs_by_all_episodes_that_it_holds():
    spec = small_policy().spec
    slow = episode('p' * 12, name='slow', progress=list(np.linspace(0, 0.005, 12)), seed=1)
    slow = replace(slow, rewards=slow.rewards[:-1])
    fast = episode('p' * 12, name='fast', progress=list(np.linspace(0, 1, 12)), seed=2)
    one, other = Replay(spec, advantage=ALIGNED), Replay(spec, advantage=ALIGNED)
    for replay, order in ((one, [slow, fast]), (other, [fast, slow])):
        for made in order:
            assert replay.add(made)
    rng = np.random.default_rng(0)
    drawn = [replay.sample(4000, rng).weight for replay in (one, other)]
    usual = usual_gain([slow, fast], spec.horizon, ALIGNED)
    expected = {
        round(float(w), 5)
        for made in (slow, fast)
        for w in step_weights(made, spec.horizon, ALIGNED, usual=usual)
        if w > 0
    }
    for weight in drawn:  # the order does not matter
        assert {round(float(w), 5) for w in weight} == expected
    plain = Replay(spec)
    plain.add(slow)
    assert {round(float(w), 5) for w in plain.sample(100, rng).weight} != expected


def test_a_replay_is_empty_once_nothing_is_worth_learning():
    """Alone its small gains are the usual ones; among failures that gained much more they are nothing."""
    replay = Replay(small_policy().spec, advantage=ALIGNED)
    assert replay.add(episode('p' * 6, progress=[0.995, 0.996, 0.997, 0.998, 0.999, 1.0]))
    assert not replay.empty
    for number in range(4):
        rising = list(np.linspace(0, 0.9, 60))
        assert not replay.add(episode('p' * 60, Outcome.FAILURE, rising, name=str(number)))
    replay.settle()
    assert replay.empty


def test_a_recipe_names_the_rule(tmp_path):
    file = tmp_path / 'recipe.yaml'
    file.write_text('advantage: {rule: ra_bc, kappa: 0.02}\n')
    assert load_recipe(str(file)).advantage == AdvantageConfig(rule='ra_bc', kappa=0.02)
    for text, named in (('rule: rabc', 'rule'), ('kappa: -1', 'kappa is -1')):
        file.write_text(f'advantage: {{{text}}}\n')
        with pytest.raises(SettingsError, match=named):
            load_recipe(str(file))
