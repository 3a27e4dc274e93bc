# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The shipped weights on freshly rendered attempts with seeds nothing was trained on.

Thresholds are the gate's or lie below what `apprentice bench rewards` measures, by a margin for few attempts.
"""

import torch._dynamo  # isort: skip # noqa: F401 - before the first GL context of this process

import numpy as np
import pytest

from apprentice.cli.train_rewards import held_out
from apprentice.learning.reward_gate import RewardGate
from apprentice.reward_models.base import PairCritic, RewardModel, ScoreRequest
from apprentice.reward_models.calibration.calibrate import ScoreCalibrator
from apprentice.reward_models.clip.reward import ClipReward
from apprentice.reward_models.critic.critic import ProgressCritic
from apprentice.reward_models.evaluation.evaluate import evaluate
from apprentice.reward_models.evaluation.showing import model_curve
from apprentice.reward_models.evaluation.verdict import FILE, read, weights_hash
from apprentice.reward_models.online import EpisodeScorer, score_episode
from apprentice.robot.parts import find_weights, load_part, share
from apprentice.robot.types import RewardKind


@pytest.fixture(scope='module')
def attempts():
    import torch

    torch.set_num_threads(1)
    return held_out('', 15, offset=50_000)


@pytest.fixture(scope='module')
def clip():
    return ClipReward.load(share('weights', 'clip'))


@pytest.fixture(scope='module')
def critic():
    return ProgressCritic.load(share('weights', 'critic'))


def demonstration(attempts):
    return next(item for item in attempts if item.success)


def test_weights_are_small():
    files = [p for folder in ('clip', 'critic') for p in share('weights', folder).iterdir()]
    assert sum(p.stat().st_size for p in files) < 4e6
    for folder in ('clip', 'critic'):
        assert f'apprentice train {folder}' in (share('weights', folder) / 'README.md').read_text()


def test_clip_tells_success_from_the_rest(attempts, clip):
    assert isinstance(clip, RewardModel)
    assert not isinstance(clip, PairCritic)
    numbers = evaluate(model_curve(clip), attempts, static=2).numbers
    assert numbers['auroc'] > 0.97
    assert numbers['auroc_value'] > 0.97
    assert numbers['margin'] > 0.1


def test_critic_keeps_the_gate_on_the_demo_task(attempts, critic):
    assert isinstance(critic, PairCritic)
    numbers = evaluate(model_curve(critic), attempts, static=2).numbers
    assert numbers['voc'] > 0.8
    assert numbers['voc_rewound'] < -0.5 * numbers['voc']
    assert numbers['auroc'] > 0.9
    assert numbers['pair_accuracy'] > 0.8
    assert numbers['margin'] > 0.5
    assert numbers['static_credit'] < 0.02
    assert numbers['truth'] > 0.6


def test_the_verdict_is_of_these_weights(critic):
    """And it lets the learner use them."""
    folder = share('weights', 'critic')
    verdict = read(folder / FILE)
    assert (verdict.model, verdict.version) == (critic.model, critic.version)
    assert verdict.sha256 == weights_hash(folder)
    assert verdict.losses == []
    RewardGate(files=[folder / FILE]).check([(critic.model, critic.version)])


@pytest.mark.parametrize('name', ['clip', 'critic'])
def test_the_calibration_is_of_these_weights(name, clip, critic):
    model = {'clip': clip, 'critic': critic}[name]
    calibrator = ScoreCalibrator.load(share('weights', name))
    calibrator.check(model.model, model.version, model.kind)
    curve = calibrator.curves[calibrator.family('pick up the red cube')]
    assert curve.count > 500
    assert curve.brier < 0.05  # on the samples it was fitted on; a constant has 0.08


def test_turned_pairs_change_sign_and_still_pairs_are_zero(attempts, critic):
    item = demonstration(attempts)
    emb = critic.encode(item.frames)
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, len(emb), (2, 60))
    text = [item.text] * 60
    forward = critic.delta(ScoreRequest(text=text, emb=np.stack([emb[a], emb[b]], 1))).value
    back = critic.delta(ScoreRequest(text=text, emb=np.stack([emb[b], emb[a]], 1))).value
    assert np.all(np.abs(forward) <= 1)
    # the mean of an ensemble: members that disagree about a tiny change may cancel
    clear = np.maximum(np.abs(forward), np.abs(back)) > 0.1
    assert clear.sum() > 20
    assert np.all(np.sign(forward[clear]) == -np.sign(back[clear]))
    still = critic.delta(ScoreRequest(text=text, emb=np.stack([emb[a], emb[a]], 1))).value
    np.testing.assert_allclose(still, 0.0, atol=1e-6)


def test_a_standing_robot_makes_no_progress(attempts, critic):
    item = demonstration(attempts)
    rng = np.random.default_rng(1)
    noisy = np.repeat(item.frames[:1], 40, axis=0).astype(int) + rng.integers(
        -3, 4, (40, *item.frames.shape[1:])
    )
    rewards = score_episode(
        critic, np.clip(noisy, 0, 255).astype(np.uint8), [0.5 * i for i in range(40)], item.text
    )
    assert max(r.progress for r in rewards) < min(0.2, rewards[0].progress + 0.02)
    assert not any(r.done for r in rewards)


def test_score_of_a_critic_is_absolute_progress(attempts, critic):
    item = demonstration(attempts)
    score = critic.score(ScoreRequest(text=[item.text], frames=item.frames[None]))
    assert score.kind == RewardKind.ABS_PROGRESS
    assert score.per_frame[0, 0] < 0.2
    assert score.per_frame[0, -1] > 0.8
    assert score.latency_ms > 0


def test_unusable_images_are_not_valid_rewards(clip, critic):
    for model in (clip, critic):
        scorer = EpisodeScorer(model, 'pick up the red cube')
        emb = model.encode(np.zeros((2, 64, 64, 3), np.uint8))
        assert scorer.add(0.0, emb).valid
        bad = scorer.add(1.0, emb * np.nan)
        assert not bad.valid
        assert 'not finite' in bad.reason
        assert scorer.add(2.0, emb).valid
        with pytest.raises(ValueError, match='increase'):
            scorer.add(2.0, emb)


def test_unknown_instructions_are_scored_too(clip, critic):
    for model in (clip, critic):
        assert model.negatives('wave hello') == []
        reward = EpisodeScorer(model, 'wave hello').add(0.0, model.encode(np.zeros((2, 64, 64, 3), np.uint8)))
        assert reward.valid
        assert np.isnan(reward.margin)


STARTERS = {
    'perceptual': ('apprentice.reward_models.perceptual.reward:PerceptualReward', False),
    'preference': ('apprentice.reward_models.preferences.reward:PreferenceReward', True),
}


@pytest.mark.parametrize('name', STARTERS)
def test_starters_of_the_demo_task_load_by_name_and_tell_success(attempts, name):
    """One that knows no instruction carries the verdict that refuses it."""
    part, taught = STARTERS[name]
    folder = find_weights(name)
    model = load_part(part).load(folder)
    assert f'apprentice train {name}' in (folder / 'README.md').read_text()
    assert model.version in (folder / 'README.md').read_text()
    assert sum(p.stat().st_size for p in folder.iterdir()) < 400_000
    numbers = evaluate(model_curve(model), attempts, static=1).numbers
    assert numbers['voc'] > 0.7
    assert numbers['auroc'] > 0.65  # 15 attempts
    verdict = read(folder / FILE)
    assert (verdict.model, verdict.version) == (model.model, model.version)
    assert verdict.sha256 == weights_hash(folder)
    assert (verdict.losses == []) == taught
