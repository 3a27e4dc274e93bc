# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Rewards from comparisons: likelihoods by hand, what a head learns, which pairs tell most."""

import torch._dynamo  # isort: skip  # before the first GL context of this process

import numpy as np
import pytest
import torch

from apprentice.reward_models.base import RewardModel, RewardModelError, ScoreRequest
from apprentice.reward_models.clip.reward import ClipReward
from apprentice.reward_models.preferences.choosing import choose_pairs, disagreement, information_gain
from apprentice.reward_models.preferences.comparisons import (
    Comparison,
    answer_log_probs,
    read_comparisons,
    write_comparisons,
)
from apprentice.reward_models.preferences.ensemble import FitConfig, RewardEnsemble, fit, judge
from apprentice.reward_models.preferences.reward import PreferenceReward, clip_features, save
from apprentice.reward_models.preferences.uses import (
    answer_credibility,
    best_of_n,
    best_share,
    length_constrained,
    sure_pairs,
    tuned_length_limit,
    without_slips,
)
from apprentice.robot.parts import load_part, share

DIM = 8
MANY = {'learning_rate': 3e-3, 'weight_decay': 0.01, 'steps': 200}  # for a thousand answers


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def worth(clips):
    """True reward of clips [N, T, F]: two features act only together."""
    return (1.5 * clips[..., 0] * clips[..., 1] + clips[..., 2]).mean(axis=1)


def synthetic(clips, rng, count, slips=0.0, tie=0.0, sharp=4.0):
    """Comparisons of random pairs by a person with preferences ``sharp`` times the true reward."""
    value, made = worth(clips), []
    while len(made) < count:
        a, b = (int(i) for i in rng.integers(0, len(clips), 2))
        if a == b:
            continue
        gap = torch.tensor(sharp * (value[a] - value[b]))
        p = answer_log_probs(gap, tie, 0.0).exp().numpy()
        answer = ('left', 'right', 'equal')[rng.choice(3, p=p / p.sum())]
        if rng.random() < slips:
            answer = {'left': 'right', 'right': 'left', 'equal': 'equal'}[answer]
        made.append(Comparison(a, b, answer))
    return made


def clip_set(seed, count=300, length=2):
    return np.random.default_rng(seed).normal(size=(count, length, DIM)).astype(np.float32)


def test_answers_have_rao_and_kuppers_probabilities():
    gap, theta = 0.7, 1.8
    a, b = np.exp(gap), 1.0
    p = answer_log_probs(torch.tensor(gap).double(), float(np.log(theta)), 0.0).exp().numpy()
    assert p[0] == pytest.approx(a / (a + theta * b))
    assert p[1] == pytest.approx(b / (b + theta * a))
    assert p.sum() == pytest.approx(1.0)
    plain = answer_log_probs(torch.tensor(gap).double(), 0.0, 0.0).exp().numpy()
    assert plain[0] == pytest.approx(1 / (1 + np.exp(-gap)))
    noisy = answer_log_probs(torch.tensor(50.0), 0.0, 0.3).exp().numpy()
    np.testing.assert_allclose(noisy, [0.8, 0.1, 0.1], atol=1e-5)


def test_two_layers_learn_what_a_line_cannot():
    clips, rng = clip_set(0, 1000, 1), np.random.default_rng(0)
    known, held = synthetic(clips, rng, 1200), synthetic(clips, rng, 600, sharp=50)
    line = judge(fit(clips, known, FitConfig(width=0, members=1, **MANY)), clips, held)
    both = fit(clips, known, FitConfig(members=3, **MANY))
    numbers = judge(both, clips, held)
    assert numbers['accuracy'] > 0.88 > 0.8 > line['accuracy']
    assert numbers['log_loss'] < line['log_loss']
    # the members' spread foretells the error of their mean, up to the scale of the answers
    rewards = both.rewards(clip_set(5))
    true = worth(clip_set(5))
    error = np.abs(rewards.mean(0) - 4 * (true - worth(clips).mean()))
    assert np.corrcoef(rewards.std(0), error)[0, 1] > 0.3


def test_calibration_of_noisy_answers():
    clips, rng = clip_set(1, 400, 1), np.random.default_rng(1)
    numbers = judge(
        fit(clips, synthetic(clips, rng, 1500, sharp=1.0), FitConfig(noise=0.0, members=3)),
        clips,
        synthetic(clips, rng, 1500, sharp=1.0),
    )
    assert numbers['ece'] < 0.12
    assert numbers['brier'] < 0.25


@pytest.mark.parametrize('ties', ['learn', 'half'])
def test_ties_teach_too(ties):
    clips, rng = clip_set(2, 300, 1), np.random.default_rng(2)
    known = synthetic(clips, rng, 600, tie=1.5)
    share_equal = np.mean([c.answer == 'equal' for c in known])
    assert 0.1 < share_equal < 0.8
    config = FitConfig(ties=ties, noise=0.0, members=2, **MANY)
    ensemble = fit(clips, known, config)
    held = synthetic(clips, rng, 500, sharp=50)
    assert judge(ensemble, clips, held)['accuracy'] > 0.85
    if ties == 'learn':
        width = float(torch.nn.functional.softplus(ensemble.tie))
        assert 0.5 < width < 4
    # clips that are always called equal get closer
    pair = [Comparison(0, 1, 'equal'), Comparison(2, 3, 'left')] * 20
    rewards = fit(clips[:4], pair, config).rewards(clips[:4]).mean(axis=0)
    assert abs(rewards[0] - rewards[1]) < abs(rewards[2] - rewards[3])


def test_rewards_are_zero_on_average_and_a_fit_repeats():
    clips, rng = clip_set(3), np.random.default_rng(3)
    known = synthetic(clips, rng, 100)
    first, second = (fit(clips, known, FitConfig(steps=50)).rewards(clips) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first.mean(axis=1), 0.0, atol=1e-4)
    assert first.std(axis=0).min() > 0


def test_rules_by_hand():
    rewards = np.array([[0.0, 2.0, 0.0], [0.0, -2.0, 0.0]])
    pairs = np.array([[0, 1], [0, 2]])
    # one pair the members disagree about, one that both find undecided
    p = 1 / (1 + np.exp(2.0))
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    np.testing.assert_allclose(information_gain(rewards, pairs), [np.log(2) - entropy, 0.0], atol=1e-9)
    np.testing.assert_allclose(disagreement(rewards, pairs), [0.5 - p, 0.0], atol=1e-9)


def test_chosen_pairs_keep_the_rules():
    rng = np.random.default_rng(4)
    rewards, groups = rng.normal(size=(5, 40)) * 2, np.arange(40) % 2
    known = {(0, 2), (1, 3)}
    pairs = choose_pairs(rewards, 30, rng, groups=groups, known=known, most=2)
    assert len(pairs) == 30
    assert (groups[pairs[:, 0]] == groups[pairs[:, 1]]).all()
    assert np.bincount(pairs.ravel()).max() <= 2
    assert not known & {tuple(sorted(p)) for p in pairs.tolist()}
    gain = information_gain(rewards, pairs)
    assert gain[0] == gain.max()
    assert gain.mean() > 1.3 * information_gain(rewards, choose_pairs(rewards, 30, rng, 'random')).mean()
    assert choose_pairs(None, 5, rng, clips=10).shape == (5, 2)
    with pytest.raises(RewardModelError, match='make no pair'):
        choose_pairs(None, 5, rng, clips=1)
    with pytest.raises(RewardModelError, match='rule'):
        choose_pairs(rewards, 5, rng, 'best')


def test_slips_are_found():
    clips, rng = clip_set(5), np.random.default_rng(5)
    good = synthetic(clips, rng, 400, sharp=20)
    turned = {int(i) for i in rng.choice(400, 40, replace=False)}
    swap = {'left': 'right', 'right': 'left', 'equal': 'equal'}
    said = [
        Comparison(c.left, c.right, swap[c.answer] if i in turned else c.answer) for i, c in enumerate(good)
    ]
    config = FitConfig(members=3, noise=0.1, **MANY)
    credible = answer_credibility(clips, said, config, folds=4)
    slip = np.array([i in turned for i in range(400)])
    assert np.median(credible[slip]) < 0.35 < 0.8 < np.median(credible[~slip])
    kept = without_slips(said, credible, 0.2)
    wrong = sum(c.answer != g.answer for c, g in zip(said, good, strict=True) if c in kept)
    assert wrong < 0.75 * 40
    assert len(kept) > 0.8 * 360


def test_length_is_unlearned():
    rng = np.random.default_rng(6)
    clips = clip_set(6, 400, 1)
    lengths = rng.lognormal(size=400)
    clips[:, 0, 7] = np.log(lengths)
    value, known = worth(clips), []
    for a, b in rng.integers(0, 400, (1500, 2)).tolist():
        if a != b:  # people like what is long
            gap = 4 * (value[a] - value[b]) + 6 * np.log(lengths[a] / lengths[b])
            known.append(Comparison(a, b, 'left' if rng.random() < 1 / (1 + np.exp(-gap)) else 'right'))
    held = synthetic(clips, rng, 500, sharp=50)
    config = FitConfig(members=1, **MANY)
    biased = judge(fit(clips, known, config), clips, held)['accuracy']
    limit = tuned_length_limit(clips, known, lengths, (0.3, 0.6, 1.0), config)
    constrained = length_constrained(known, lengths, limit)
    assert limit == 0.6  # less drops too little, more turns the bias round
    assert judge(fit(clips, constrained, config), clips, held)['accuracy'] > biased + 0.1


def test_choosing_the_best_is_cautious():
    rewards = np.array([[1.0, 5.0, 0.8], [1.0, -2.0, 0.8]])  # the second looks best to one member only
    assert best_of_n(rewards, caution=0.0) == 1
    assert best_of_n(rewards, caution=1.0) == 0
    assert best_share(rewards, 0.5).tolist() == [0, 2]
    sure = sure_pairs(rewards, np.array([[0, 1], [0, 2], [2, 0]]))
    assert [(c.left, c.right, c.answer) for c in sure] == [(0, 2, 'left'), (2, 0, 'right')]
    with pytest.raises(RewardModelError, match='share'):
        best_share(rewards, 0.0)


def test_comparisons_through_a_file(tmp_path):
    some = [Comparison(1, 2, 'left'), Comparison(2, 0, 'equal', 0.5)]
    write_comparisons(tmp_path / 'c.jsonl', some)
    assert read_comparisons(tmp_path / 'c.jsonl') == some
    (tmp_path / 'c.jsonl').write_text('{"left": 1, "right": 2, "answer": "left"}\n{"left": 1}\n')
    with pytest.raises(RewardModelError, match='line 2'):
        read_comparisons(tmp_path / 'c.jsonl')
    with pytest.raises(RewardModelError, match='two different clips'):
        Comparison(1, 1, 'left')
    with pytest.raises(RewardModelError, match='answer is'):
        Comparison(1, 2, 'best')


def test_bad_input_is_refused():
    clips = clip_set(0, 4)
    with pytest.raises(RewardModelError, match='answer some pairs'):
        fit(clips, [])
    with pytest.raises(RewardModelError, match='names clip 9, there are 4'):
        fit(clips, [Comparison(1, 9, 'left')])
    with pytest.raises(RewardModelError, match='ties'):
        FitConfig(ties='drop')
    with pytest.raises(RewardModelError, match='folds'):
        answer_credibility(clips, [Comparison(0, 1, 'left')])


def test_a_saved_reward_loads_and_scores(tmp_path):
    clip = ClipReward.load(share('weights', 'clip'))
    rng = np.random.default_rng(7)
    videos = rng.integers(90, 110, (24, 3, 2, 64, 64, 3), dtype=np.uint8)
    height = rng.random(24)
    for video, h in zip(videos, height, strict=True):
        top = int(48 - 44 * h)
        video[:, :, top : top + 12, 26:38] = (220, 40, 40)
    texts = ['pick up the red cube'] * 24
    features = clip_features(clip, list(videos), texts)
    pairs = [(int(a), int(b)) for a, b in rng.integers(0, 24, (150, 2)) if abs(height[a] - height[b]) > 0.1]
    known = [Comparison(a, b, 'left' if height[a] > height[b] else 'right') for a, b in pairs]
    ensemble = fit(features, known, FitConfig(steps=150))
    save(tmp_path / 'p', ensemble, clip, str(share('weights', 'clip')), ('front', 'wrist'), 'one')
    reward = load_part('apprentice.reward_models.preferences.reward:PreferenceReward').load(tmp_path / 'p')
    assert isinstance(reward, RewardModel)
    score = reward.score(ScoreRequest(text=texts, frames=videos, neg_text=[['pick up the blue cube']] * 24))
    np.testing.assert_allclose(
        score.per_frame.mean(axis=1), ensemble.rewards(features).mean(axis=0), atol=1e-4
    )
    assert np.corrcoef(score.value, height)[0, 1] > 0.8
    assert (score.std > 0).all()
    assert np.isfinite(score.margin).all()
    with pytest.raises(RewardModelError, match='needs the views'):
        reward.score(ScoreRequest(text=texts[:1], frames=videos[:1, :, :1]))
    with pytest.raises(RewardModelError, match='apprentice train preference'):
        PreferenceReward.load(tmp_path)


def test_other_weights_are_another_version_and_are_not_exchanged_unseen(tmp_path):
    import shutil

    clip = ClipReward.load(share('weights', 'clip'))
    dim = clip_features(clip, [np.zeros((1, 2, 64, 64, 3), np.uint8)], ['x']).shape[-1]
    versions = set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        folder = tmp_path / str(seed)
        save(folder, RewardEnsemble(3, dim, 8), clip, str(share('weights', 'clip')), ('front', 'wrist'), 'a')
        versions.add(PreferenceReward.load(folder).version)
    assert len(versions) == 2
    shutil.copy(tmp_path / '1' / 'preference.safetensors', tmp_path / '0')
    with pytest.raises(RewardModelError, match=r'sha256 differs.*apprentice train preference'):
        PreferenceReward.load(tmp_path / '0')
