# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Perceptual rewards: exact cuts, features that tell steps, a staged reward that knows the way back."""

import torch._dynamo  # isort: skip # noqa: F401 - before the first GL context of this process

import itertools

import numpy as np
import pytest

from apprentice.reward_models.base import Episodes, RewardModel, RewardModelError, ScoreRequest
from apprentice.reward_models.clip.encoder import ClipEncoder
from apprentice.reward_models.evaluation.metrics import spearman
from apprentice.reward_models.perceptual.buffers import OutcomeBuffers
from apprentice.reward_models.perceptual.features import FrameFeatures
from apprentice.reward_models.perceptual.reward import PerceptualReward
from apprentice.reward_models.perceptual.steps import (
    discover_steps,
    jaccard,
    random_steps,
    segment_costs,
    step_of_frames,
)
from apprentice.reward_models.perceptual.train import fit_steps, select_features, train_perceptual
from apprentice.robot.parts import load_part, share


def by_hand(x, count, shortest, by_length):
    """Every way to cut, the cheapest of them."""
    best = (np.inf, None)
    for cuts in itertools.combinations(range(1, len(x)), count - 1):
        ends = [0, *cuts, len(x)]
        if min(np.diff(ends)) < shortest:
            continue
        pieces = [x[a:b] for a, b in itertools.pairwise(ends)]
        cost = sum(p.std(axis=0).mean() * (len(p) if by_length else 1) for p in pieces)
        best = min(best, (cost, ends[:-1]), key=lambda item: item[0])
    return best[1]


@pytest.mark.parametrize('by_length', [False, True])
@pytest.mark.parametrize(('count', 'shortest'), [(1, 1), (2, 1), (3, 2), (4, 3)])
def test_cuts_are_the_best_of_all(count, shortest, by_length):
    for seed in range(4):
        x = np.cumsum(np.random.default_rng(seed).normal(size=(14, 5)), axis=0)
        assert discover_steps(x, count, shortest, by_length) == by_hand(x, count, shortest, by_length)


def test_costs_are_deviations():
    x = np.random.default_rng(0).normal(size=(9, 4)) + 1000.0
    costs = segment_costs(x)
    assert costs[2, 7] == pytest.approx(x[2:7].std(axis=0).mean(), rel=1e-6)
    assert np.isinf(costs[3, 3])


def test_short_videos_are_refused():
    with pytest.raises(RewardModelError, match='cannot hold 3 steps'):
        discover_steps(np.zeros((8, 2)), 3, 3)


def demo(rng, lengths=(14, 10, 17), dim=64, informative=20, noise=0.6):
    """Three steps that differ in some features; the others wander."""
    means = np.random.default_rng(99).normal(size=(3, informative)) * 2
    x = rng.normal(size=(sum(lengths), dim))
    x[:, :informative] = noise * x[:, :informative] + np.repeat(means, lengths, axis=0)
    return x


def drawn(rng):
    return tuple(int(n) for n in rng.integers(8, 20, 3))


def test_change_points_are_found_and_the_reward_follows_the_steps():
    rng = np.random.default_rng(1)
    shapes = [drawn(rng) for _ in range(5)]
    model, labels = fit_steps([demo(rng, s) for s in shapes], 3, by_length=True, chosen=12)
    for label, lengths in zip(labels, shapes, strict=True):
        cuts = np.flatnonzero(np.diff(label)) + 1
        assert np.abs(cuts - np.cumsum(lengths)[:2]).max() <= 2
    assert (model.chosen < 20).mean() > 0.8
    held = demo(rng, (12, 12, 12))
    progress = model.progress(held)
    assert ((progress >= 0) & (progress <= 1)).all()
    stage = np.repeat([0, 1, 2], 12)
    low, middle, high = (np.median(progress[stage == k]) for k in range(3))
    assert high > middle + 0.1 > low + 0.2
    # within a step all frames are alike, so the rank correlation with time is below 1 even at best
    assert spearman(progress, np.arange(36)) > 0.85
    assert spearman(model.progress(held[::-1]), np.arange(36)) < -0.5
    assert jaccard(model.likely_step(held), stage, 3) > 0.95
    # a frame unlike any step is no step's
    assert model.step_rewards(held[:1] + 8).max() < 0.01


def test_the_sign_is_a_likelihood():
    """As printed, the paper's reward grows with the distance from the step."""
    rng = np.random.default_rng(2)
    model, _ = fit_steps([demo(rng) for _ in range(5)], 3, by_length=True)
    near = model.arrays()['centre'].copy()
    z = np.zeros_like(near)
    z[model.chosen[2]] = model.mean[2]
    assert model.step_rewards(near + z * model.scale)[2] == pytest.approx(1.0)
    off = z.copy()
    off[model.chosen[2]] += model.std[2]
    assert model.step_rewards(near + off * model.scale)[2] == pytest.approx(np.exp(-0.5), rel=1e-4)


def test_features_are_chosen_by_distance_less_spread():
    z = np.array([[0.0, 0, 5], [0, 1, -5], [3, 3, 5], [3, 2, -5]])
    chosen, mean, std = select_features(z, np.array([0, 0, 1, 1]), 2, chosen=2)
    assert chosen.tolist() == [[0, 1], [0, 1]]
    assert mean[1].tolist() == [3, 2.5]
    assert std[0, 0] == 0.1  # floored


def test_agreement():
    assert jaccard(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert step_of_frames([0, 2, 3], 5).tolist() == [0, 0, 1, 2, 2]
    cuts = random_steps(10, 4, np.random.default_rng(0))
    assert cuts == sorted(set(cuts))
    assert cuts[0] == 0


# through files


def clips(rng, count=6):
    """A square that is low, then high, then high and green."""
    made = []
    for _ in range(count):
        length = [int(n) for n in rng.integers(5, 9, 3)]
        video = rng.integers(90, 110, (sum(length), 1, 64, 64, 3), dtype=np.uint8)
        for t, step in enumerate(np.repeat([0, 1, 2], length)):
            top = 44 if step == 0 else 8
            video[t, 0, top : top + 14, 24:38] = (40, 200, 40) if step == 2 else (220, 40, 40)
        made.append(video)
    return made


@pytest.fixture(scope='module')
def encoder():
    return ClipEncoder.load(share('weights', 'clip'))


@pytest.mark.parametrize('layer', ['', 'visual.layer3'])
def test_trained_folder_loads_and_scores(encoder, tmp_path, layer):
    videos = clips(np.random.default_rng(3))
    episodes = Episodes([*videos, videos[0][:2]], ['x'] * 7, [True] * 6 + [False], ('front',))
    features = FrameFeatures(encoder, layer, grid=2)
    report = train_perceptual(episodes, features, str(share('weights', 'clip')), tmp_path / 'p')
    assert report['clips'] == 6
    reward = load_part('apprentice.reward_models.perceptual.reward:PerceptualReward').load(tmp_path / 'p')
    assert isinstance(reward, RewardModel)
    held = clips(np.random.default_rng(4), 1)[0]
    score = reward.score(ScoreRequest(text=['x'], frames=held[None]))
    assert score.per_frame[0, -3:].min() > score.per_frame[0, :3].max() + 0.2
    assert score.done_prob[0] > 0.1
    noise = np.random.default_rng(5).integers(0, 256, held.shape, dtype=np.uint8)
    strange = reward.score(ScoreRequest(text=['x'], frames=noise[None]))
    assert strange.ood[0] > 2 * score.ood[0]
    assert strange.ood[0] > 1
    np.testing.assert_allclose(
        reward.score(ScoreRequest(text=['x'], emb=reward.encode(held)[None])).value, score.value, rtol=1e-5
    )


def test_wrong_use_names_the_remedy(encoder, tmp_path):
    with pytest.raises(RewardModelError, match='apprentice train perceptual'):
        PerceptualReward.load(tmp_path)
    with pytest.raises(RewardModelError, match="no layer 'visual\\.layer9'"):
        FrameFeatures(encoder, 'visual.layer9')
    with pytest.raises(RewardModelError, match='no successful clip'):
        fit_steps([], 3)
    episodes = Episodes(clips(np.random.default_rng(0), 2), ['x'] * 2, [True] * 2, ('front',))
    train_perceptual(episodes, FrameFeatures(encoder), str(share('weights', 'clip')), tmp_path / 'p')
    reward = PerceptualReward.load(tmp_path / 'p')
    with pytest.raises(RewardModelError, match='needs the views'):
        reward.score(ScoreRequest(text=['x'], emb=np.zeros((1, 1, 2, 96), np.float32)))
    config = (tmp_path / 'p' / 'perceptual.json').read_text()
    (tmp_path / 'p' / 'perceptual.json').write_text(config.replace(encoder.version, '0' * 12))
    with pytest.raises(RewardModelError, match='was trained on the encoder 000000000000'):
        PerceptualReward.load(tmp_path / 'p')


def test_buffers_tell_successes_from_failures(encoder):
    from apprentice.reward_models.clip.reward import ClipReward

    buffers = OutcomeBuffers(ClipReward(encoder), capacity=50)
    videos = clips(np.random.default_rng(6), 6)
    emb = [buffers.encode(video) for video in videos]
    with pytest.raises(RewardModelError, match='both successes and failures'):
        buffers.log_ratio(emb[0])
    before = buffers.version
    for each in emb[:4]:
        buffers.add(each[-3:], True)
        buffers.add(each[:8], False)
    assert buffers.version != before
    for each in emb[4:]:
        ratio = buffers.log_ratio(each)
        assert ratio[-3:].min() > 0 > ratio[:3].max()
    score = buffers.score(ScoreRequest(text=['x'], emb=emb[5][None]))
    assert score.done_prob[0] > 0.5
    for _ in range(20):
        buffers.add(emb[0][:4], False)
    assert len(buffers._moments[False]) == 50
    # a density, by hand
    h = buffers._median()
    d = ((emb[5][:1, 0] - buffers._moments[True].reshape(-1, emb[5].shape[-1])) ** 2).sum(-1)
    e = ((emb[5][:1, 0] - buffers._moments[False].reshape(-1, emb[5].shape[-1])) ** 2).sum(-1)
    by_hand = np.log(np.mean(np.exp(-d / (2 * h * h)))) - np.log(np.mean(np.exp(-e / (2 * h * h))))
    assert buffers.log_ratio(emb[5][:1])[0] == pytest.approx(by_hand, rel=1e-3)


def test_another_layer_or_other_clips_are_another_version(encoder, tmp_path):
    import shutil

    from apprentice.reward_models.cache.model import cached

    made = []
    for number, (seed, layer) in enumerate(((0, ''), (1, ''), (0, 'visual.layer2'))):
        episodes = Episodes(clips(np.random.default_rng(seed), 2), ['x'] * 2, [True] * 2, ('front',))
        features = FrameFeatures(encoder, layer, grid=2)
        train_perceptual(episodes, features, str(share('weights', 'clip')), tmp_path / str(number))
        made.append(PerceptualReward.load(tmp_path / str(number)))
    assert len({reward.version for reward in made}) == 3
    # one cache for all: what one of them has seen is not taken for what another sees
    frames = np.random.default_rng(2).integers(0, 255, (1, 1, 1, 64, 64, 3), dtype=np.uint8)
    request = ScoreRequest(text=['x'], frames=frames)
    for reward in (made[0], made[2]):
        kept = cached(reward, folder=str(tmp_path / 'cache'))
        np.testing.assert_allclose(kept.score(request).value, reward.score(request).value, atol=1e-2)
        kept.cache.close()
    shutil.copy(tmp_path / '1' / 'perceptual.safetensors', tmp_path / '0')
    with pytest.raises(RewardModelError, match=r'sha256 differs.*apprentice train perceptual'):
        PerceptualReward.load(tmp_path / '0')
