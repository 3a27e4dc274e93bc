# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One YAML file from logged scores to potentials, trust and rewards."""

import logging
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.calibration.calibrate import ScoreCalibrator
from apprentice.reward_models.pipeline import RewardPipeline
from apprentice.robot.types import Reward, RewardKind

TIMES = np.linspace(0.0, 2.0, 9)


@pytest.fixture
def folder(tmp_path):
    """Calibrations of two models: a similarity that means done from 0.6 on, and a critic that is right."""
    rng = np.random.default_rng(0)
    x = rng.random(4000)
    (tmp_path / 'clip').mkdir()
    ScoreCalibrator('clip', 'c1', RewardKind.CLIP_SIM).fit(0.5 + 0.2 * x, x).save(tmp_path / 'clip')
    (tmp_path / 'critic').mkdir()
    ScoreCalibrator('critic', 'k1', RewardKind.PROGRESS_DELTA).fit(x, x).save(tmp_path / 'critic')
    return tmp_path


def load(folder, text):
    path = folder / 'rewards.yaml'
    path.write_text(text)
    return RewardPipeline.load(path)


BOTH = 'models: [{model: critic, calibration: critic}, {model: clip, calibration: clip}]\n'
UNASKED = 'trust: {sigma: null, margin: null, ood: null}\n'


def critic(progress=None, version='k1', **more):
    progress = TIMES / 2 if progress is None else progress
    return [
        Reward(t - 0.5, t, RewardKind.PROGRESS_DELTA, 0.1, progress=p, model='critic', version=version,
               std=0.01, **more)
        for t, p in zip(TIMES, progress)
    ]  # fmt: skip


def clip(progress=None):
    progress = TIMES / 2 if progress is None else progress
    return [
        Reward(t, t, RewardKind.CLIP_SIM, 0.5 + 0.2 * p, model='clip', version='c1', std=0.002)
        for t, p in zip(TIMES[::2], progress[::2])
    ]


def test_models_of_different_units_meet_in_one_potential(folder):
    pipeline = load(folder, BOTH + UNASKED)
    stamps = np.linspace(0.1, 1.9, 19)
    found = pipeline.potential([*critic(), *clip()], 'lift', stamps)
    np.testing.assert_allclose(found.phi, stamps / 2, atol=0.05)
    assert (found.trust, found.reason, found.models) == (1.0, '', ('critic', 'clip'))


def test_disagreement_lowers_potential_and_trust(folder):
    pipeline = load(folder, BOTH + 'trust: {sigma: 0.2, margin: null, ood: null}\n')
    stamps = TIMES[1:-1]
    agreed = pipeline.potential([*critic(), *clip()], 'lift', stamps)
    hacked = pipeline.potential([*critic(np.ones(9)), *clip(np.zeros(9))], 'lift', stamps)
    assert hacked.phi.max() < 0.1  # mean 0.5 less the spread of 0.5
    assert hacked.trust < 0.01 < 0.9 < agreed.trust


def test_doubt_of_one_model_is_heard(folder):
    pipeline = load(folder, BOTH + 'trust: {sigma: null, margin: 0.0, ood: 1.0}\n')
    good = critic(margin=0.3, ood=0.2)
    assert pipeline.potential(good, 'lift', TIMES).trust == 1.0
    assert pipeline.potential([*good, *clip()], 'lift', TIMES).trust == 0.0  # clip measured neither
    far = pipeline.potential(critic(margin=0.3, ood=1.5), 'lift', TIMES)
    assert (far.trust, far.reason) == (0.0, 'ood 1.5 is beyond 1')


def test_labels_truth_invalid_and_superseded_scores_are_not_used(folder):
    pipeline = load(folder, BOTH + UNASKED)
    truth = [Reward(t, t, RewardKind.TRUTH, 1.0, progress=1.0, model='truth') for t in TIMES]
    assert pipeline.potential(truth, 'lift', TIMES) is None
    assert pipeline.potential(critic(valid=False), 'lift', TIMES) is None
    later = critic(np.full(9, 0.25), revision=1)
    found = pipeline.potential([*later, *critic()], 'lift', TIMES)
    np.testing.assert_allclose(found.phi, 0.25, atol=0.04)
    assert load(folder, BOTH + UNASKED + 'ensemble: {at_least: 2}').potential(critic(), 'lift', TIMES) is None


def test_the_documented_pipeline_works_after_the_commands_it_names(tmp_path, caplog):
    document = (Path(__file__).resolve().parents[2] / 'docs' / 'rewards.md').read_text()
    found = re.findall(
        r'^    apprentice train calibration .*--model (\w+) --out (\S+)$', document, re.MULTILINE
    )
    assert [model for model, _ in found] == ['clip', 'critic']
    x = np.random.default_rng(0).random(4000)
    makers = {
        'clip': ScoreCalibrator('clip', 'c1', RewardKind.CLIP_SIM).fit(0.5 + 0.2 * x, x),
        'critic': ScoreCalibrator('critic', 'k1', RewardKind.PROGRESS_DELTA).fit(x, x),
    }
    for model, out in found:
        (tmp_path / out).mkdir(parents=True)  # as the command does
        makers[model].save(tmp_path / out)
    pipeline = load(tmp_path, document.split('```yaml')[1].split('```')[0])
    assert pipeline.done('critic').views == 1
    # what the models measure: the shipped clip a lead but no deviation
    scores = [*critic(margin=0.4), *(replace(r, std=np.nan, margin=0.01) for r in clip())]
    with caplog.at_level(logging.WARNING):
        potential = pipeline.potential(scores, 'lift', TIMES)
    assert (potential.trust, potential.models, caplog.text) == (1.0, ('clip', 'critic'), '')


def test_why_nothing_is_trusted_is_logged_once(folder, caplog):
    pipeline = load(folder, BOTH + 'trust: {sigma: 0.2, margin: 0.0, ood: null}\n')
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert pipeline.potential([*critic(margin=0.4), *clip()], 'lift', TIMES).trust == 0.0
    assert caplog.text.count('margin was not measured (trust: margin: null does not ask for it)') == 1
    assert 'critic, clip (lift)' in caplog.text


def test_nothing_runs_uncalibrated_unless_asked(folder):
    with pytest.raises(RewardModelError, match='uncalibrated: true'):
        load(folder, 'models: [{model: critic, calibration: nowhere}]')
    with pytest.raises(RewardModelError, match='uncalibrated: true'):
        load(folder, 'models: [{model: critic}]')
    plain = load(folder, 'models: [{model: critic, uncalibrated: true}]\n' + UNASKED)
    np.testing.assert_allclose(plain.potential(critic(), 'lift', TIMES).phi, TIMES / 2 - 0.01, atol=0.011)
    with pytest.raises(RewardModelError, match='calibrate the model'):
        load(folder, 'models: [{model: clip, uncalibrated: true}]').potential(clip(), 'lift', TIMES)


def test_scores_of_another_version_need_another_calibration(folder):
    with pytest.raises(RewardModelError, match='version k1, the scores are of k2'):
        load(folder, BOTH).potential(critic(version='k2'), 'lift', TIMES)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('models: []', 'at least one'),
        ('models: [{model: clip, calibration: critic}]', 'made for model critic'),
        ('models: [{name: critic}]', 'name'),
        ('modles: []', 'modles'),
        ('models: [{model: critic, calibration: critic}]\ndone: {k: 9}', 'k 9 of n 4'),
        ('models: [{model: critic, calibration: critic}]\nensemble: {rule: max}', 'rule'),
        ('models: [', 'not readable YAML'),
    ],
)
def test_a_wrong_file_is_named(folder, text, words):
    with pytest.raises(RewardModelError, match=words) as caught:
        load(folder, text)
    assert 'rewards.yaml' in str(caught.value)
