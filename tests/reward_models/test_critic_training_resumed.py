# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A killed training of the critic goes on where it was; what a batch asks is labelled as it was shown."""

import torch._dynamo  # isort: skip # before the first GL context of this process

from pathlib import Path

import numpy as np
import pytest
import torch

from apprentice.learning import snapshot
from apprentice.reward_models.base import Episodes, RewardModelError
from apprentice.reward_models.critic.batches import CriticTraining, LabelledFrames
from apprentice.reward_models.critic.eyes import ThumbnailEye
from apprentice.reward_models.critic.train import train_critic
from apprentice.reward_models.resuming import Snapshots

SETTINGS = CriticTraining(steps=9, episodes=6, frames=4, width=16, in_context=1.0, unsaid=1.0, goals=1.0)
TEXT = 'lift the red cube'


def bright(values):
    """Frames [T, 1, 32, 32, 3] as bright as the values in [0, 1] say."""
    return np.stack([np.full((1, 32, 32, 3), round(250 * v), np.uint8) for v in values])


def episodes():
    rises = [np.linspace(0.0, 1.0, 11)] * 4
    return Episodes(
        [bright(v) for v in rises] + [bright(np.zeros(6))], [TEXT] * 5, [True] * 4 + [False], ('eye',)
    )


def kept_in(folder: Path, every: int = 3) -> Snapshots:
    def newest():
        found = snapshot.newest(folder)
        return None if found is None else (found[0], found[1])

    return Snapshots(lambda tensors, state: snapshot.write(tensors, folder, state), newest, every)


def train(out: Path, snapshots: Snapshots | None = None, settings=SETTINGS, progress=None):
    torch.set_num_threads(1)
    train_critic(episodes(), ThumbnailEye.of([TEXT]), out, settings, None, progress, snapshots)
    return (out / 'critic.safetensors').read_bytes()


def test_a_killed_training_ends_with_the_same_weights(tmp_path):
    steps = []

    def kill(step, loss):
        steps.append(step)
        if step == 8 and steps.count(8) == 1:
            raise KeyboardInterrupt

    whole = train(tmp_path / 'whole')
    snapshots = kept_in(tmp_path / 'training')
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'killed', snapshots, progress=kill)
    assert not (tmp_path / 'killed' / 'critic.safetensors').exists()
    assert train(tmp_path / 'killed', snapshots, progress=kill) == whole
    assert steps == [*range(1, 9), 7, 8, 9]
    snapshot.remove(tmp_path / 'training')
    assert snapshots.read() is None


def test_a_state_of_another_training_is_refused(tmp_path):
    snapshots = kept_in(tmp_path / 'training')
    train(tmp_path / 'one', snapshots)
    other = CriticTraining(steps=9, episodes=6, frames=4, width=16, seed=1)
    with pytest.raises(RewardModelError, match='unfinished training'):
        train(tmp_path / 'two', snapshots, other)


def test_the_demonstration_in_context_says_what_is_wanted():
    """How bright a frame is says how far it is in the whole; its label is how far it is in what was shown."""
    data = LabelledFrames(episodes(), ThumbnailEye.of([TEXT]), 0.004)
    settings = CriticTraining(episodes=6, frames=5, mismatch=0.0, in_context=1.0, unsaid=1.0, goals=1.0)
    rng, seen = np.random.default_rng(0), set()
    for _ in range(10):
        batch = data.batch(settings, rng)
        assert bool(batch.in_context.all())
        for i in np.flatnonzero(batch.good.numpy()):
            shown = batch.reference[i, :, 0].numpy()
            light = batch.views[i, :, 0].numpy()
            expected = (light - shown[0]) / (shown[-1] - shown[0])
            np.testing.assert_allclose(batch.progress[i].numpy(), np.clip(expected, 0, 1), atol=0.13)
            assert bool((batch.done[i][batch.progress[i] >= 1.0] == 1.0).all())
            assert bool((batch.done[i] == 1.0).any())
            seen.add('backwards' if shown[0] > shown[-1] else 'whole' if shown[-1] > 0.97 else 'piece')
    assert seen >= {'backwards', 'piece'}


def test_forgotten_words_are_not_read_but_colours_are():
    eye = ThumbnailEye.of([TEXT])
    text = torch.from_numpy(eye.text([TEXT] * 200))
    heard = eye.heard(text, 0.5, np.random.default_rng(0))
    words = list(eye.words)
    share = heard[:, words.index('lift')].mean()
    assert 0.3 < float(share) < 0.7
    for common in ('the', 'colour1'):
        assert bool((heard[:, words.index(common)] == 1.0).all())
    torch.testing.assert_close(heard[:, len(words) :], text[:, len(words) :], equal_nan=True)
    torch.testing.assert_close(eye.heard(text, 0.0, np.random.default_rng(0)), text, equal_nan=True)
