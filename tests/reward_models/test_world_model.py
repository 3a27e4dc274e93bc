# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A world model learns of a light that goes where it is told, and ranks chunks by where they lead."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from apprentice.learning import snapshot
from apprentice.reward_models.base import RewardModelError, ScoreRequest
from apprentice.reward_models.resuming import Snapshots
from apprentice.reward_models.world_model.clips import Clips
from apprentice.reward_models.world_model.energy import EnergySettings, EnergyWeights, scales_of
from apprentice.reward_models.world_model.features import ClipMap, Pooled, layer_normed
from apprentice.reward_models.world_model.files import CONFIG, WEIGHTS
from apprentice.reward_models.world_model.reward import WorldModelReward, subgoal
from apprentice.reward_models.world_model.train import WorldModelConfig, train_world_model
from apprentice.robot.parts import share
from apprentice.robot.types import Episode, Outcome, RewardKind

CLIP = share('weights', 'clip')
CONFIGURATION = WorldModelConfig(
    steps=300,
    batch=64,
    learning_rate=3e-3,
    rows=2,
    unroll=2,
    rank=12,
    width=64,
    layers=2,
    members=2,
    evaluate_every=50,
    held_out=0.2,
)


def picture(place):
    """A soft light on a dark table."""
    x, y = np.asarray(place) * 44 + 10
    rows, columns = np.mgrid[:64, :64]
    light = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 12.0**2))
    return np.repeat((230 * light)[..., None], 3, axis=-1).astype(np.uint8)


class Thumbnail:
    """A feature space of the test's own, named by ``part``: a small grey picture as one token."""

    tokens, dim, version = 1, 64, 'thumbnail'

    @classmethod
    def load(cls, source, device, allow_download):
        return cls()

    def encode(self, frames):
        small = frames.mean(-1).reshape(*frames.shape[:-3], 8, 8, 8, 8).mean((-1, -3))
        return layer_normed(torch.from_numpy(small).float().flatten(-2))[..., None, :].numpy()


def walk(rng, number, steps=14):
    """The light is where it was told to be, one step later."""
    state, place, heading = [], rng.uniform(0, 1, 2), rng.normal(0, 0.1, 2)
    action = []
    for _ in range(steps):
        heading = 0.6 * heading + rng.normal(0, 0.06, 2)
        target = np.clip(place + heading, 0, 1)
        state.append(place)
        action.append(target)
        place = target
    return Episode(
        episode_id=str(number), task='', seed=number, outcome=Outcome(1 + number % 2), end_cause=2,
        eval_only=False, stamps=np.arange(steps) * 0.1, images={'eye': np.stack([picture(p) for p in state])},
        state=np.array(state, np.float32), action=np.array(action, np.float32),
        source=np.ones(steps, np.uint8), takeover_id=np.zeros(steps, np.int64),
    )  # fmt: skip


@pytest.fixture(scope='module')
def clips():
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    return Clips.of((walk(rng, i) for i in range(50)), Thumbnail(), ('eye',))


def train(clips, folder, config=CONFIGURATION, **options):
    described = {
        'part': f'{__name__}:Thumbnail',
        'source': 'none',
        'options': {},
        'version': Thumbnail.version,
    }
    return train_world_model(clips, np.zeros(2, bool), described, folder, config, **options)


@pytest.fixture(scope='module')
def folder(clips, tmp_path_factory):
    path = tmp_path_factory.mktemp('world') / 'model'
    steps = []
    report = train(clips, path, progress=lambda step, metrics: steps.append((step, metrics)))
    assert [step for step, _ in steps] == list(range(1, int(report['steps']) + 1))
    assert report['held_out_error'] < 0.6 * report['standing_still_error']
    return path


def straight(start, end, rows=4):
    return np.stack([start + (end - start) * (row + 1) / rows for row in range(rows)]).astype(np.float32)


def test_ranks_chunks_by_where_they_lead(folder):
    model = WorldModelReward.load(folder)
    rng = np.random.default_rng(1)
    right = count = 0
    for _ in range(12):
        start, goal = rng.uniform(0.2, 0.8, 2), rng.uniform(0.1, 0.9, 2)
        ends = np.clip(start + rng.uniform(-0.35, 0.35, (6, 2)), 0, 1)
        chunks = np.stack([straight(start, end) for end in ends])
        ranking = model.candidates(picture(start)[None], start, chunks, end=model.encode(picture(goal)[None]))
        distance = np.abs(ends - goal).sum(axis=1)
        a, b = np.triu_indices(6, 1)
        far = np.abs(distance[a] - distance[b]) > 0.15
        right += np.sum(
            (np.sign(ranking.reward[b] - ranking.reward[a]) == np.sign(distance[a] - distance[b]))[far]
        )
        count += far.sum()
        assert ranking.cost.shape == ranking.std.shape == ranking.ood.shape == (6,)
        assert (ranking.std > 0).all()
        assert set(ranking.energies) == {'end'}
    assert right / count > 0.75, right / count


def test_score_is_the_same_as_ranking_and_encodes_nothing_twice(folder):
    model = WorldModelReward.load(folder)
    start, goal = np.array([0.3, 0.4]), np.array([0.7, 0.4])
    own = straight(start, goal)
    chunks = np.stack([own, straight(start, np.array([0.1, 0.9]))])
    end, sub = model.encode(np.stack([picture(goal)[None], picture((0.6, 0.4))[None]]))
    ranking = model.candidates(picture(start)[None], start, chunks, end, sub, own)
    demonstration = model.encode(np.stack([picture((x, 0.4))[None] for x in np.linspace(0.3, 0.6, 5)]))
    score = model.score(
        ScoreRequest(
            text=['', ''],
            emb=np.repeat(model.encode(picture(start)[None])[None, None], 2, axis=0),
            state={'joints': np.repeat(start[None, None], 2, 0), 'demonstrated_action': np.stack([own, own])},
            action=chunks,
            goal=np.stack([end, end]),
            reference=np.stack([demonstration] * 2),
        )
    )
    assert score.kind == RewardKind.COST
    assert score.valid.all()
    np.testing.assert_allclose(score.value, ranking.cost, rtol=1e-4)
    np.testing.assert_allclose(score.ood, ranking.ood, rtol=1e-4)
    assert ranking.order[0] == 0
    assert ranking.energies['deviation'][0] == 0 < ranking.energies['deviation'][1]


def test_what_was_never_seen_is_far_away(folder):
    model = WorldModelReward.load(folder)
    start = np.array([0.4, 0.4])
    chunks = np.stack([straight(start, start + 0.1), straight(start, start + 3.0)])
    goal = model.encode(picture((0.5, 0.5))[None])
    known = model.candidates(picture(start)[None], start, chunks, end=goal).ood
    dark = 255 - picture(start)[None]  # a shadow on a bright table
    strange = model.candidates(dark, start, chunks[:1], end=goal).ood
    assert known[0] < 1 < strange[0]
    assert known[1] > 2


def test_a_short_chunk_is_held(folder):
    model = WorldModelReward.load(folder)
    start, goal = np.array([0.4, 0.4]), np.array([0.5, 0.4])
    three = straight(start, goal, 3)
    four = np.concatenate([three, three[-1:]])
    end = model.encode(picture(goal)[None])
    costs = [model.candidates(picture(start)[None], start, chunk[None], end).cost for chunk in (three, four)]
    np.testing.assert_allclose(*costs, rtol=1e-5)


def test_unusable_requests_say_what_is_wrong(folder):
    model = WorldModelReward.load(folder)
    start = np.array([0.4, 0.4])
    chunks = straight(start, start + 0.1)[None]
    end = model.encode(picture(start)[None])
    with pytest.raises(RewardModelError, match='nothing to compare with'):
        model.candidates(picture(start)[None], start, chunks)
    with pytest.raises(RewardModelError, match='needs the views'):
        model.candidates(np.stack([picture(start)] * 2), start, chunks, end=np.stack([end[0]] * 2))
    with pytest.raises(RewardModelError, match='must be finite'):
        model.candidates(picture(start)[None], start, chunks * np.nan, end=end)
    with pytest.raises(RewardModelError, match='state must be'):
        model.candidates(picture(start)[None], start[:1], chunks, end=end)
    with pytest.raises(RewardModelError, match='demonstrated chunk'):
        model.candidates(picture(start)[None], start, chunks, demonstrated=chunks[0, :2])
    with pytest.raises(RewardModelError, match='needs action'):
        model.score(ScoreRequest(text=[''], emb=end[None, None], goal=end[None]))


def test_damaged_foreign_and_missing_folders_are_refused(folder, tmp_path):
    with pytest.raises(RewardModelError, match='train world-model'):
        WorldModelReward.load(tmp_path)
    for name in (CONFIG, WEIGHTS):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with open(tmp_path / WEIGHTS, 'ab') as file:
        file.write(b'0')
    with pytest.raises(RewardModelError, match='sha256'):
        WorldModelReward.load(tmp_path)
    (tmp_path / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes())
    config = json.loads((folder / CONFIG).read_text())
    config['features']['version'] = 'another'
    (tmp_path / CONFIG).write_text(json.dumps(config))
    with pytest.raises(RewardModelError, match='was trained on features another'):
        WorldModelReward.load(tmp_path)
    with pytest.raises(RewardModelError, match='unknown'):
        WorldModelReward.load(folder, alpha=1)


def test_weights_of_the_terms_can_be_given(folder):
    model = WorldModelReward.load(folder, energy_weights={'end': 0.0, 'sub': 0.0, 'deviation': 2.0})
    start = np.array([0.4, 0.4])
    own = straight(start, start + 0.1)
    end = model.encode(picture(start)[None])
    ranking = model.candidates(picture(start)[None], start, own[None] + 0.05, end=end, demonstrated=own)
    expected = 2.0 * ranking.energies['deviation'] / model.settings.scales.deviation
    np.testing.assert_allclose(ranking.cost, expected, rtol=1e-6)


def test_training_stops_when_nothing_is_learned(clips, tmp_path):
    rng = np.random.default_rng(0)
    noise = Clips(
        rng.normal(size=clips.tokens.shape).astype(np.float16), clips.state, clips.action, clips.episode,
        clips.success, clips.cameras,
    )  # fmt: skip
    config = WorldModelConfig(
        steps=400, batch=8, rows=2, unroll=1, rank=8, width=16, layers=1, members=1, evaluate_every=4,
        patience=2, learning_rate=3e-2,
    )  # fmt: skip
    report = train(noise, tmp_path / 'model', config)
    assert report['steps'] < 400


def test_the_same_seed_gives_the_same_weights(clips, tmp_path):
    config = WorldModelConfig(steps=3, batch=8, rows=2, rank=8, width=16, layers=1, members=1)
    for name in ('a', 'b'):
        train(clips, tmp_path / name, config)
    assert (tmp_path / 'a' / WEIGHTS).read_bytes() == (tmp_path / 'b' / WEIGHTS).read_bytes()


def test_too_little_data_is_named(clips):
    with pytest.raises(RewardModelError, match='2 episodes or more'):
        Clips.of([walk(np.random.default_rng(0), 0)], Thumbnail(), ('eye',)).split(0.1, 0)
    with pytest.raises(RewardModelError, match='no camera hand'):
        Clips.of([walk(np.random.default_rng(0), 0)], Thumbnail(), ('hand',))
    with pytest.raises(RewardModelError, match='none of 1 episodes'):
        Clips.of([walk(np.random.default_rng(0), 0)], Thumbnail(), ('eye',), shortest=99)


def test_starts_stay_within_an_episode(clips):
    starts = clips.starts(4, np.array([1, 3]))
    assert set(clips.episode[starts]) == {1, 3}
    assert (clips.episode[starts] == clips.episode[starts + 4]).all()
    assert len(starts) == 2 * (14 - 4)


def test_cost_is_the_weighted_sum_in_units_of_its_scales():
    energies = {'end': np.array([[1.0, 3.0]]), 'deviation': np.array([[0.2, 0.4]])}
    scales = scales_of(energies)
    assert (scales.end, scales.sub) == (1.0, 1.0)
    assert scales.deviation == pytest.approx(0.1)
    settings = EnergySettings(EnergyWeights(1.0, 1.0, 0.5), scales)
    np.testing.assert_allclose(settings.cost(energies), [[1 + 1, 3 + 2]])
    with pytest.raises(RewardModelError, match='weight of sub'):
        EnergySettings(EnergyWeights(sub=-1.0))


def test_the_subgoal_follows_the_nearest_frame():
    demonstration = np.arange(10, dtype=np.float32).reshape(10, 1, 1)
    assert subgoal(np.array([[3.2]]), demonstration, 4)[0, 0] == 7
    assert subgoal(np.array([[8.0]]), demonstration, 4)[0, 0] == 9


@pytest.mark.parametrize(('make', 'tokens'), [(ClipMap.load, 4), (Pooled.load, 1)])
def test_features_are_layer_normed_and_see_the_place(make, tokens):
    features = make(CLIP)
    frames = np.stack([picture((0.1, 0.1)), picture((0.8, 0.8))])
    found = features.encode(frames[:, None])
    assert found.shape == (2, 1, tokens, features.dim)
    np.testing.assert_allclose(found.mean(-1), 0, atol=1e-4)
    np.testing.assert_allclose(found.std(-1), 1, atol=1e-2)
    assert np.abs(found[0] - found[1]).mean() > 0.05
    with pytest.raises(RewardModelError, match='uint8'):
        features.encode(frames.astype(np.float32))


def test_a_killed_training_follows_the_same_losses(clips, tmp_path):
    config = WorldModelConfig(
        steps=12, batch=8, rows=2, rank=8, width=16, layers=1, members=2, evaluate_every=2, patience=20
    )
    whole: dict[int, float] = {}
    train(clips, tmp_path / 'whole', config, progress=lambda step, found: whole.update({step: found['loss']}))

    def newest():
        found = snapshot.newest(tmp_path / 'training')
        return None if found is None else found[:2]

    kept = Snapshots(lambda *state: snapshot.write(state[0], tmp_path / 'training', state[1]), newest, 3)
    seen = []

    def until(last):
        def progress(step, found):
            seen.append((step, found['loss']))
            if step == last:
                raise KeyboardInterrupt

        return progress

    for last in (5, 10):  # twice: what was kept is kept again
        with pytest.raises(KeyboardInterrupt):
            train(clips, tmp_path / 'killed', config, progress=until(last), snapshots=kept)
    assert not (tmp_path / 'killed').exists()
    train(clips, tmp_path / 'killed', config, progress=until(0), snapshots=kept)
    assert [step for step, _ in seen] == [*range(1, 6), *range(4, 11), *range(10, 13)]
    assert all(loss == whole[step] for step, loss in seen)
    ends = [(tmp_path / name / WEIGHTS).read_bytes() for name in ('whole', 'killed')]
    assert ends[0] == ends[1]
    other = dataclasses.replace(config, seed=1)
    with pytest.raises(RewardModelError, match='other settings'):
        train(clips, tmp_path / 'other', other, snapshots=kept)
