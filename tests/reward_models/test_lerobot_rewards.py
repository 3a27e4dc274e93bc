# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Rewards across the border to LeRobot: its call on our models, our call on its, and its progress files."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from apprentice.reward_models.base import Needs, RewardModel, RewardModelError, Score, ScoreRequest
from apprentice.reward_models.calibration.calibrate import ScoreCalibrator
from apprentice.reward_models.clip.reward import ClipReward
from apprentice.reward_models.lerobot.adapter import ForLeRobot
from apprentice.reward_models.lerobot.model import FromLeRobot
from apprentice.reward_models.lerobot.progress import Progress, read_progress, write_progress
from apprentice.reward_models.online import score_episode
from apprentice.robot.parts import share
from apprentice.robot.types import RewardKind

TEXT = 'pick up the red cube'


@pytest.fixture(scope='module')
def clip():
    return ClipReward.load(share('weights', 'clip'))


def batch(frames, texts):
    """uint8 [B, (T,) V, H, W, 3] of the cameras front and wrist as LeRobot has them."""
    tensor = torch.from_numpy(np.moveaxis(frames, -1, -3).astype(np.float32) / 255)
    return {
        'observation.images.front': tensor[..., 0, :, :, :],
        'observation.images.wrist': tensor[..., 1, :, :, :],
        'observation.state': torch.zeros(len(frames), 7),
        'task': texts,
    }


def pictures(count, seed=0, *more):
    return np.random.default_rng(seed).integers(0, 256, (count, *more, 2, 64, 64, 3), dtype=np.uint8)


def test_ours_answers_compute_reward_with_the_value_of_every_item(clip):
    frames, texts = pictures(3), [TEXT, 'pick up the blue cube', TEXT]
    network = ForLeRobot(clip)
    reward = network.compute_reward(batch(frames, texts))
    assert isinstance(network, torch.nn.Module)
    assert not network.is_trainable
    assert (reward.shape, reward.dtype) == ((3,), torch.float32)
    expected = clip.score(ScoreRequest(text=texts, frames=frames[:, None])).value
    np.testing.assert_allclose(reward.numpy(), expected, atol=1e-5)
    assert np.ptp(expected) > 1e-4  # not a constant
    turned = network.compute_reward(batch(frames[::-1].copy(), texts[::-1]))
    np.testing.assert_allclose(turned.numpy(), expected[::-1], atol=1e-5)


def test_ours_can_answer_with_the_potential(clip):
    frames = pictures(200)
    values = clip.score(ScoreRequest(text=[TEXT] * 200, frames=frames[:, None])).value
    calibrator = ScoreCalibrator('clip', clip.version, RewardKind.CLIP_SIM)
    calibrator = calibrator.fit(values, values > np.median(values))
    reward = ForLeRobot(clip, calibrator).compute_reward(batch(frames, [TEXT] * 200)).numpy()
    assert np.all((reward >= 0) & (reward <= 1))
    assert reward[values > np.median(values)].min() > 0.9 > 0.1 > reward[values < np.median(values)].max()


class Gain:
    """A pair critic: how much brighter the second frame is."""

    kind, model, version = RewardKind.PROGRESS_DELTA, 'gain', '1'
    needs = Needs(pair=True, cameras=('front', 'wrist'))

    @classmethod
    def load(cls, weights, device='cpu', **options):
        return cls()

    def encode(self, frames):
        return np.asarray(frames, np.float32).mean(axis=(-3, -2, -1))[..., None] / 255

    def negatives(self, text):
        return []

    def score(self, request):
        raise NotImplementedError

    def delta(self, request):
        light = self.encode(request.frames).mean(axis=(2, 3))
        value = light[:, 1] - light[:, 0]
        nan = np.full(len(value), np.nan, np.float32)
        return Score(self.kind, value, nan, nan, nan, np.isfinite(value), self.model, self.version)


def test_a_pair_critic_compares_the_ends_of_a_sequence():
    frames = np.zeros((2, 3, 2, 64, 64, 3), np.uint8)
    frames[0, 2], frames[1, 0] = 255, 255
    reward = ForLeRobot(Gain()).compute_reward(batch(frames, [TEXT] * 2))
    np.testing.assert_allclose(reward.numpy(), [1.0, -1.0])
    with pytest.raises(RewardModelError, match='two frames or more'):
        ForLeRobot(Gain()).compute_reward(batch(frames[:, 0], [TEXT] * 2))
    with pytest.raises(RewardModelError, match='no potential'):
        ForLeRobot(Gain(), ScoreCalibrator('gain', '1', RewardKind.PROGRESS_DELTA))


def test_a_batch_that_does_not_fit_is_named(clip):
    good = batch(pictures(2), [TEXT] * 2)
    for change, words in (
        ({'observation.images.front': good['observation.images.front'] * 4 - 2}, r'not in \[0, 1\]'),
        ({'observation.images.front': good['observation.images.front'][0]}, 'must be'),
        ({'task': [TEXT]}, '2 texts'),
    ):
        with pytest.raises(RewardModelError, match=words):
            ForLeRobot(clip).compute_reward({**good, **change})
    named = {'top': good['observation.images.front'], 'hand': good['observation.images.wrist']}
    with pytest.raises(RewardModelError, match='our name'):
        ForLeRobot(clip).compute_reward({**named, 'task': [TEXT] * 2})
    mapped = ForLeRobot(clip, cameras={'front': 'top', 'wrist': 'hand'}, text=TEXT).compute_reward(named)
    np.testing.assert_allclose(mapped.numpy(), ForLeRobot(clip).compute_reward(good).numpy(), atol=1e-6)


class Progressive(torch.nn.Module):
    """A model with LeRobot's call of 2026: brightness of its one image is the progress."""

    name = 'robometer'

    def compute_reward(self, batch):
        assert len(batch['task']) == len(batch['observation.images.top'])
        return batch['observation.images.top'].mean(dim=(1, 2, 3))


def test_theirs_scores_an_episode_as_ours():
    model = FromLeRobot(
        Progressive(),
        RewardKind.ABS_PROGRESS,
        {'front': 'observation.images.top'},
        size=(32, 32),
        version='7',
    )
    assert isinstance(model, RewardModel)
    frames = (np.arange(5)[:, None, None, None, None] * 60 * np.ones((1, 1, 64, 48, 3))).astype(np.uint8)
    rewards = score_episode(model, frames, [1.0, 2.0, 3.0, 4.0, 5.0], TEXT)
    np.testing.assert_allclose([r.value for r in rewards], np.arange(5) * 60 / 255, atol=1e-5)
    assert all(r.valid and r.kind == RewardKind.ABS_PROGRESS and r.version == '7' for r in rewards)
    with pytest.raises(RewardModelError, match='views'):
        model.score(ScoreRequest(text=[TEXT], frames=frames[None, :1].repeat(2, axis=2)))


def test_theirs_and_ours_are_inverse(clip):
    """LeRobot's call on our model, taken back as a model of ours, gives the same values."""
    frames = pictures(4)
    features = {name: f'observation.images.{name}' for name in ('front', 'wrist')}
    back = FromLeRobot(ForLeRobot(clip), clip.kind, features, size=(64, 64), name='clip')
    request = ScoreRequest(text=[TEXT] * 4, frames=frames[:, None])
    np.testing.assert_allclose(back.score(request).value, clip.score(request).value, atol=1e-5)


class Classifier(torch.nn.Module):
    """A classifier with the calls of lerobot 0.4.4: a probability from ``predict``, a decision besides."""

    def __init__(self):
        super().__init__()
        order = ('observation.images.b', 'observation.images.a', 'observation.state')
        self.config = SimpleNamespace(input_features=dict.fromkeys(order))

    def predict(self, images):
        first, second = (image.mean(dim=(1, 2, 3)) for image in images)
        return SimpleNamespace(probabilities=0.75 * first + 0.25 * second)

    def predict_reward(self, batch, threshold=0.5):
        raise AssertionError('the decision is not wanted')


def test_a_classifier_gives_its_probability_and_its_images_in_its_own_order():
    features = {'front': 'observation.images.a', 'wrist': 'observation.images.b'}
    model = FromLeRobot(Classifier(), RewardKind.SUCCESS_PROB, features, size=(8, 8))
    frames = np.zeros((1, 1, 2, 8, 8, 3), np.uint8)
    frames[0, 0, 1] = 255  # wrist is its first image
    score = model.score(ScoreRequest(text=[TEXT], frames=frames))
    assert score.value == pytest.approx([0.75])
    assert score.done_prob == pytest.approx([0.75])


def test_what_is_no_reward_model_is_refused(tmp_path):
    with pytest.raises(RewardModelError, match='neither compute_reward nor predict_reward'):
        FromLeRobot(torch.nn.Linear(1, 1), RewardKind.SUCCESS_PROB, {'front': 'x'})
    with pytest.raises(RewardModelError, match=r'config\.json is missing'):
        FromLeRobot.load(tmp_path)


def test_progress_files_have_lerobots_columns_and_come_back(tmp_path):
    parquet = pytest.importorskip('pyarrow.parquet')
    curves = [np.linspace(0, 1, 4), np.array([0.0, np.nan, 0.5])]
    path = tmp_path / 'sarm_progress.parquet'
    write_progress(path, Progress.of_episodes(curves, model='critic v1'))
    table = parquet.read_table(path)
    assert table.column_names == ['index', 'episode_index', 'frame_index', 'progress_sparse']
    assert table['index'].to_pylist() == [0, 1, 2, 3, 4, 5, 6]
    assert table['episode_index'].to_pylist() == [0, 0, 0, 0, 1, 1, 1]
    assert table['frame_index'].to_pylist() == [0, 1, 2, 3, 0, 1, 2]
    again = read_progress(path)
    np.testing.assert_allclose(again.heads['sparse'], np.concatenate(curves), atol=1e-7)
    assert again.model == 'critic v1'
    parquet.write_table(table.drop_columns(['frame_index']).take([6, 5, 4, 3, 2, 1, 0]), path)
    assert read_progress(path).frame_index.tolist() == [0, 1, 2, 3, 0, 1, 2]


def test_a_progress_file_that_does_not_fit_is_named(tmp_path):
    parquet = pytest.importorskip('pyarrow.parquet')
    import pyarrow as pa

    path = tmp_path / 'progress.parquet'
    with pytest.raises(RewardModelError, match='calibrate'):
        write_progress(path, Progress.of_episodes([np.array([0.0, 3.0])]))
    assert list(tmp_path.iterdir()) == []
    parquet.write_table(pa.table({'index': [0], 'progress_sparse': [0.5]}), path)
    with pytest.raises(RewardModelError, match=r"lacks \['episode_index'\]"):
        read_progress(path)
    path.write_bytes(b'no parquet')
    with pytest.raises(RewardModelError, match='not a readable parquet'):
        read_progress(path)
