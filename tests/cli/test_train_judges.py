# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""`apprentice train perceptual` and `train preference`, small, on the real simulator."""

import torch._dynamo  # isort: skip # noqa: F401 - before the first GL context of this process

import argparse

import numpy as np

from apprentice.cli import train
from apprentice.cli.train_rewards import render
from apprentice.learning.comparing import EQUAL, compare, true_comparisons
from apprentice.reward_models.base import ScoreRequest
from apprentice.reward_models.perceptual.reward import PerceptualReward
from apprentice.reward_models.preferences.comparisons import read_comparisons
from apprentice.reward_models.preferences.reward import PreferenceReward


def run(*words):
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    return train.run(parser.parse_args(list(words)))


def test_perceptual_reward_from_three_demonstrations(tmp_path, capsys):
    assert run('perceptual', '--out', str(tmp_path / 'p'), '--clips', '3') == 0
    assert '"clips": 3.0' in capsys.readouterr().out
    reward = PerceptualReward.load(tmp_path / 'p')
    attempt = render('', range(90_000_000, 90_000_001), ('expert',))[0][0]
    score = reward.score(ScoreRequest(text=[attempt.text], frames=attempt.frames[None]))
    assert score.per_frame[0, -1] > score.per_frame[0, 0]


def test_preference_reward_from_a_few_answers(tmp_path, capsys):
    out, answers = str(tmp_path / 'p'), tmp_path / 'answers.jsonl'
    words = ('--attempts', '6', '--answers', '15', '--save-answers', str(answers))
    assert run('preference', '--out', out, *words) == 0
    assert '15 answers' in capsys.readouterr().out
    assert len(read_comparisons(answers)) == 15
    reward = PreferenceReward.load(out)
    frames = np.zeros((1, 2, len(reward.needs.cameras), 64, 64, 3), np.uint8)
    assert np.isfinite(reward.score(ScoreRequest(text=['pick up the red cube'], frames=frames)).value[0])


def test_the_simulated_person_errs_as_said():
    progress, rng = np.linspace(0, 1, 50), np.random.default_rng(0)
    pairs = rng.integers(0, 50, (4000, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    said = compare(progress, pairs, rng)
    gap = np.array([progress[c.left] - progress[c.right] for c in said])
    assert {c.answer for c, g in zip(said, gap, strict=True) if abs(g) < EQUAL} == {'equal'}
    far = [(c.answer == 'left') == (g > 0) for c, g in zip(said, gap, strict=True) if abs(g) > 0.6]
    assert 0.92 < np.mean(far) < 0.98
    right = true_comparisons(progress, np.zeros(50, int), 300, rng)
    assert all((c.answer == 'left') == (progress[c.left] > progress[c.right]) for c in right)
