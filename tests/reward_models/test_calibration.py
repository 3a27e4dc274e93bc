# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Calibrated potentials mean what they say; without a calibration there is an error, not a number."""

import json

import numpy as np
import pytest

from apprentice.reward_models.base import Calibrator, RewardModelError, Score
from apprentice.reward_models.calibration.calibrate import FILE, ScoreCalibrator
from apprentice.reward_models.calibration.curve import fit
from apprentice.reward_models.calibration.units import Units, to_feature
from apprentice.robot.types import Reward, RewardKind


def samples(count=4000, seed=0, slope=8.0, middle=0.3):
    """Scores whose probability of being done is sigmoid(slope (x - middle))."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0.3, 0.3, count)
    p = 1 / (1 + np.exp(-slope * (x - middle)))
    return x, (rng.random(count) < p).astype(float), p


def make_score(values, kind=RewardKind.CLIP_SIM, std=np.nan, model='clip', version='v1', valid=None):
    values = np.asarray(values, np.float32)
    nan = np.full(len(values), np.nan, np.float32)
    return Score(
        kind, values, np.full(len(values), std, np.float32), nan, nan,
        np.isfinite(values) if valid is None else np.array(valid), model, version,
    )  # fmt: skip


def calibration_error(p, target, bins=10):
    which = np.minimum((p * bins).astype(int), bins - 1)
    return sum(abs(p[which == b].mean() - target[which == b].mean()) * np.mean(which == b)
               for b in range(bins) if np.any(which == b))  # fmt: skip


@pytest.mark.parametrize('method', ['isotonic', 'platt'])
def test_a_fitted_curve_recovers_the_probability_on_held_out_scores(method):
    x, target, _ = samples()
    curve = fit(x, target, method)
    fresh, held_out, truth = samples(seed=1)
    assert np.abs(curve(fresh) - truth).mean() < 0.03
    assert calibration_error(curve(fresh), held_out) < 0.03
    assert calibration_error(np.clip(fresh, 0, 1), held_out) > 0.1  # the raw score is not a probability
    grid = curve(np.linspace(-2, 3, 500))
    assert np.all(np.diff(grid) >= -1e-12)
    assert 0 <= grid[0] <= grid[-1] <= 1


@pytest.mark.parametrize('method', ['isotonic', 'platt'])
def test_few_samples_make_a_less_certain_curve(method):
    x, target, _ = samples()
    many, few = fit(x, target, method), fit(x[:60], target[:60], method)
    assert few.standard_error(x).mean() > 2 * many.standard_error(x).mean()
    assert np.all(many.standard_error(x) > 0)


def test_platt_stays_finite_when_success_and_failure_never_overlap():
    x = np.r_[np.linspace(0, 0.4, 20), np.linspace(0.6, 1, 20)]
    curve = fit(x, (x > 0.5).astype(float), 'platt')
    assert 0 < curve(np.array([0.0]))[0] < 0.1 < 0.9 < curve(np.array([1.0]))[0] < 1
    assert np.all(np.isfinite(curve.error))


def test_targets_may_be_progress():
    rng = np.random.default_rng(0)
    x = rng.random(2000)
    curve = fit(x + rng.normal(0, 0.05, 2000), x**2, 'isotonic')
    at = np.linspace(0.1, 0.9, 9)
    assert np.abs(curve(at) - at**2).max() < 0.08


@pytest.mark.parametrize(
    ('values', 'targets', 'words'),
    [
        (np.arange(5.0), np.array([0, 0, 1, 1, 1.0]), 'too few'),
        (np.arange(50.0), np.ones(50), 'success and of failure'),
        (np.zeros(50), np.arange(50) % 2.0, 'alike'),
        (np.arange(50.0), (np.arange(50) < 25).astype(float), 'fall as the target rises'),
        (np.arange(50.0), np.arange(50.0), 'must lie in'),
        (np.arange(50.0), np.zeros(49), 'equally long'),
    ],
)
def test_what_cannot_be_calibrated_is_refused(values, targets, words):
    with pytest.raises(RewardModelError, match=words):
        fit(values, targets, 'isotonic')


def test_a_calibration_lies_beside_the_weights_with_date_count_and_hash(tmp_path):
    x, target, _ = samples(500)
    made = ScoreCalibrator('clip', 'v1', RewardKind.CLIP_SIM).fit(x, target).fit(x, target, 'pick *', 'platt')
    assert isinstance(made, Calibrator)
    path = made.save(tmp_path)
    data = json.loads(path.read_text())
    assert path.name == FILE
    assert (data['model'], data['version'], data['kind'], data['count']) == ('clip', 'v1', 'CLIP_SIM', 1000)
    assert data['date'].endswith('+00:00')
    loaded = ScoreCalibrator.load(tmp_path)
    assert loaded.sha256 == made.sha256 == data['sha256']
    score = make_score([-0.2, 0.3, 0.9], std=0.05)
    for text in ('pick up the red cube', 'wipe the table'):
        np.testing.assert_array_equal(
            loaded.to_potential(score, [text] * 3), made.to_potential(score, [text] * 3)
        )


def test_a_changed_file_another_model_version_or_kind_is_refused(tmp_path):
    x, target, _ = samples(500)
    made = ScoreCalibrator('clip', 'v1', RewardKind.CLIP_SIM).fit(x, target)
    path = made.save(tmp_path)
    path.write_text(path.read_text().replace('"version": "v1"', '"version": "v2"'))
    with pytest.raises(RewardModelError, match='changed or damaged'):
        ScoreCalibrator.load(path)
    with pytest.raises(RewardModelError, match='version v1, the scores are of v2'):
        made.to_potential(make_score([0.1], version='v2'), ['a'])
    with pytest.raises(RewardModelError, match='model clip'):
        made.to_potential(make_score([0.1], model='other'), ['a'])
    with pytest.raises(RewardModelError, match='kind CLIP_SIM'):
        made.to_potential(make_score([0.1], kind=RewardKind.LOG_PROB), ['a'])
    with pytest.raises(RewardModelError, match='not calibrated'):
        ScoreCalibrator.load(tmp_path / 'nowhere')


def test_families_have_curves_of_their_own_and_the_longest_pattern_counts():
    x, target, _ = samples(2000)
    made = ScoreCalibrator('clip', '', RewardKind.CLIP_SIM)
    made = made.fit(x, target, 'pick *').fit(x - 1.0, target, 'pick up the blue *')
    score = make_score([-0.7])
    red, blue = (made.to_potential(score, [f'pick up the {c} cube'])[0][0] for c in ('red', 'blue'))
    assert red < 0.1
    assert blue > 0.3
    with pytest.raises(RewardModelError, match="not for 'wipe the table'"):
        made.to_potential(score, ['wipe the table'])


def test_deviation_follows_the_slope_of_the_curve_and_holds_its_error():
    x, target, _ = samples()
    made = ScoreCalibrator('clip', '', RewardKind.CLIP_SIM).fit(x, target, method='platt')
    exact = made.to_potential(make_score([0.3], std=0.0), ['a'])[1][0]
    noisy = made.to_potential(make_score([0.3], std=0.05), ['a'])[1][0]
    flat = made.to_potential(make_score([2.0], std=0.05), ['a'])[1][0]
    assert exact == pytest.approx(made.curves['*'].standard_error(np.array([0.3]))[0])
    assert noisy == pytest.approx(np.hypot(exact, 0.05 * 8.0 / 4), rel=0.1)  # slope of the sigmoid: 8 / 4
    assert flat < 0.01
    assert np.isnan(made.to_potential(make_score([0.3]), ['a'])[1][0])
    phi, std = made.to_potential(make_score([0.3, np.nan, 0.3], valid=[True, False, False]), ['a'] * 3)
    np.testing.assert_array_equal(np.isnan(phi), [False, True, True])
    assert np.all(np.isnan(std))


def test_units_without_a_calibration_have_to_be_asked_for():
    seconds = ScoreCalibrator.plain('rynn', RewardKind.SECONDS_TO_GO, Units(seconds=5.0))
    phi, std = seconds.to_potential(
        make_score([0.0, 5.0, 1e9], RewardKind.SECONDS_TO_GO, 1.0, 'rynn'), ['a'] * 3
    )
    np.testing.assert_allclose(phi, [1.0, np.exp(-1), 0.0], atol=1e-7)
    np.testing.assert_allclose(std, [0.2, np.exp(-1) / 5, 0.0], atol=1e-7)
    cost = ScoreCalibrator.plain('rule', RewardKind.COST, Units(low=0.0, high=4.0))
    phi = cost.to_potential(make_score([0.0, 1.0, 9.0], RewardKind.COST, model='rule'), ['a'] * 3)[0]
    np.testing.assert_allclose(phi, [1.0, 0.75, 0.0])
    reward = ScoreCalibrator.plain('rule', RewardKind.REWARD, Units(low=-1.0, high=1.0))
    phi = reward.to_potential(make_score([-2.0, 0.0, 1.0], RewardKind.REWARD, model='rule'), ['a'] * 3)[0]
    np.testing.assert_allclose(phi, [0.0, 0.5, 1.0])
    with pytest.raises(RewardModelError, match='declare its bounds'):
        ScoreCalibrator.plain('rule', RewardKind.REWARD)
    with pytest.raises(RewardModelError, match='calibrate the model'):
        ScoreCalibrator.plain('clip', RewardKind.CLIP_SIM)
    with pytest.raises(RewardModelError, match='a label'):
        ScoreCalibrator.plain('', RewardKind.TRUTH)


def test_log_probabilities_stay_raw_so_that_a_failure_does_not_end_at_one():
    plain = ScoreCalibrator.plain('top', RewardKind.LOG_PROB)
    failure = np.log([0.01, 0.02, 0.05])  # rises, but never far: min-max over the trajectory would end at 1
    phi, _ = plain.to_potential(make_score(failure, RewardKind.LOG_PROB, model='top'), ['a'] * 3)
    np.testing.assert_allclose(phi, [0.01, 0.02, 0.05], rtol=1e-5)
    rng = np.random.default_rng(0)
    nats = np.log(rng.uniform(0.001, 1.0, 2000))
    made = ScoreCalibrator('top', '', RewardKind.LOG_PROB).fit(nats, (rng.random(2000) < np.exp(nats)) * 1.0)
    phi, _ = made.to_potential(make_score(failure, RewardKind.LOG_PROB, model='top'), ['a'] * 3)
    assert phi[-1] < 0.15


def test_the_deviation_of_an_uncalibrated_log_probability_is_that_of_its_probability():
    plain = ScoreCalibrator.plain('top', RewardKind.LOG_PROB)
    value = np.array([-5.0, -1.0, -0.1])
    _, sigma = plain.of_values(value, np.full(3, 0.01), ['a'] * 3)
    rng = np.random.default_rng(0)
    drawn = np.exp(value + rng.normal(0, 0.01, (20000, 3)))
    np.testing.assert_allclose(sigma, drawn.std(axis=0), rtol=0.03)


def test_a_pair_score_is_calibrated_by_what_was_accumulated():
    rng = np.random.default_rng(0)
    progress = rng.random(2000)
    made = ScoreCalibrator('critic', 'v1', RewardKind.PROGRESS_DELTA).fit(progress, progress**2)
    reward = Reward(
        0.0, 1.0, RewardKind.PROGRESS_DELTA, -0.3, progress=0.5, model='critic', version='v1', std=0.0
    )
    assert made.of_reward(reward, 'a')[0] == pytest.approx(0.25, abs=0.02)
    with pytest.raises(RewardModelError, match='accumulate it first'):
        to_feature(RewardKind.PROGRESS_DELTA, np.zeros(1), Units())
