# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Both trainings, end to end on a few coloured pictures: what is written loads, and has learned."""

import torch._dynamo  # isort: skip # noqa: F401 - before the first GL context of this process

import numpy as np
import pytest

from apprentice.reward_models.base import Episodes, RewardModelError, ScoreRequest, stack_views
from apprentice.reward_models.clip.bpe import learn_merges, vocabulary_size, write_merges
from apprentice.reward_models.clip.prompts import Prompts
from apprentice.reward_models.clip.reward import ClipReward
from apprentice.reward_models.clip.train import train_clip
from apprentice.reward_models.critic.batches import CriticTraining
from apprentice.reward_models.critic.critic import ProgressCritic
from apprentice.reward_models.critic.eyes import ClipEye, ThumbnailEye
from apprentice.reward_models.critic.train import train_critic

COLOURS = {'red ball': (220, 30, 30), 'blue ball': (30, 30, 220)}
TALES = ['the {} is low', 'the {} is high']


def picture(item, height, rng):
    image = rng.integers(90, 110, (32, 32, 3), dtype=np.uint8)
    top, left = int(22 - 20 * height), int(rng.integers(4, 20))
    image[top : top + 8, left : left + 8] = COLOURS[item]
    return image


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    import torch

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    images, captions = [], []
    for i in range(200):
        item, height = list(COLOURS)[i % 2], rng.random()
        images.append(picture(item, height, rng))
        captions.append([TALES[int(height > 0.5)].format(item)])
    path = tmp_path_factory.mktemp('weights')
    prompts = Prompts(
        goal=('the {object} is high',), baseline=('the {object} is low',), objects=tuple(COLOURS)
    )
    sentences = [t.format(c) for c in COLOURS for t in TALES]
    train_clip(
        np.stack(images), captions, sentences, path / 'clip', prompts, {'alpha': 0.5}, steps=80, batch=48
    )
    demos = [
        np.stack([picture(list(COLOURS)[i % 2], t, rng) for t in np.linspace(0, 1, 12)])[:, None]
        for i in range(12)
    ]
    texts = [f'pick up the {list(COLOURS)[i % 2]}' for i in range(12)]
    failed = [np.stack([picture('red ball', 0.1, rng)] * 12)[:, None]] * 2
    episodes = Episodes(
        demos + failed, texts + ['pick up the red ball'] * 2, [True] * 12 + [False] * 2, ('eye',)
    )
    eye = ClipEye(ClipReward.load(path / 'clip'), '../clip')
    train_critic(
        episodes, eye, path / 'critic', CriticTraining(steps=100, episodes=8, frames=6, width=32), episodes
    )
    texts = [f'pick up the {item}' for item in COLOURS]
    settings = CriticTraining(steps=50, episodes=8, frames=6, width=32)
    train_critic(episodes, ThumbnailEye.of(texts), path / 'thumbnails', settings, episodes)
    return path


def test_trained_clip_prefers_the_described_picture(folder):
    rng = np.random.default_rng(1)
    clip = ClipReward.load(folder / 'clip')
    frames = np.stack([picture('red ball', h, rng) for h in (0.0, 0.1, 0.9, 1.0)])[None, :, None]
    score = clip.score(
        ScoreRequest(text=['pick up the red ball'], frames=frames, neg_text=[['pick up the blue ball']])
    )
    assert score.per_frame[0, 2:].min() > score.per_frame[0, :2].max()
    assert score.margin[0] > 0


def test_masked_views_do_not_count(folder):
    clip = ClipReward.load(folder / 'clip')
    rng = np.random.default_rng(2)
    views = np.stack([picture('red ball', 1.0, rng), np.zeros((32, 32, 3), np.uint8)])[None, None]
    both = clip.score(ScoreRequest(text=['pick up the red ball'], frames=views))
    one = clip.score(
        ScoreRequest(text=['pick up the red ball'], frames=views, mask=np.array([[[True, False]]]))
    )
    alone = clip.score(ScoreRequest(text=['pick up the red ball'], frames=views[:, :, :1]))
    assert one.value == pytest.approx(alone.value)
    assert both.value != pytest.approx(alone.value)
    none = clip.score(
        ScoreRequest(text=['pick up the red ball'], frames=views, mask=np.zeros((1, 1, 2), bool))
    )
    assert not none.valid[0]


def lifted(item, rng):
    return np.stack([picture(item, h, rng) for h in np.linspace(0, 1, 6)])[:, None]


@pytest.mark.parametrize('name', ['critic', 'thumbnails'])
def test_trained_critic_follows_the_instruction(folder, name):
    rng = np.random.default_rng(3)
    critic = ProgressCritic.load(folder / name)
    frames = lifted('blue ball', rng)[None, [0, -1]]
    up = critic.delta(ScoreRequest(text=['pick up the blue ball'], frames=frames))
    down = critic.delta(ScoreRequest(text=['pick up the blue ball'], frames=frames[:, ::-1]))
    assert up.value[0] > 0.3 > -0.3 > down.value[0]
    np.testing.assert_allclose(up.per_frame, down.per_frame[:, ::-1], atol=1e-6)
    assert up.per_frame[0, 1] > up.per_frame[0, 0]


def test_a_colour_that_was_never_trained_on_counts_as_well(folder, monkeypatch):
    monkeypatch.setitem(COLOURS, 'yellow ball', (220, 200, 30))
    rng = np.random.default_rng(5)
    critic = ProgressCritic.load(folder / 'thumbnails')
    frames = lifted('yellow ball', rng)[None]
    asked = ScoreRequest(text=['pick up the yellow ball'], frames=frames, neg_text=[['pick up the red ball']])
    score = critic.score(asked)
    assert score.per_frame[0, -1] > score.per_frame[0, 0] + 0.3
    assert score.margin[0] > 0.2


def test_a_demonstration_in_context_counts(folder):
    rng = np.random.default_rng(6)
    critic = ProgressCritic.load(folder / 'thumbnails')
    frames, text = lifted('blue ball', rng)[None, [0, -1]], ['pick up the blue ball']
    alone = critic.delta(ScoreRequest(text=text, frames=frames))
    demonstration = critic.encode(lifted('blue ball', rng))[None]
    shown = critic.delta(ScoreRequest(text=text, frames=frames, reference=demonstration))
    assert shown.value[0] > 0.3
    assert shown.per_frame[0, 1] != pytest.approx(alone.per_frame[0, 1], abs=1e-5)
    # an item is scored the same whatever else is in the request, and whatever the others have in common
    both = critic.delta(
        ScoreRequest(
            text=[*text, 'pick up the red ball'],
            frames=np.concatenate([frames, frames]),
            reference=np.concatenate([demonstration, demonstration]),
        )
    )
    np.testing.assert_allclose(both.per_frame[0], shown.per_frame[0], atol=1e-5)


def test_critic_refuses_other_clip_weights(folder, tmp_path):
    import shutil

    shutil.copytree(folder, tmp_path / 'w')
    shutil.copy(
        folder / 'critic' / 'critic.safetensors', tmp_path / 'w' / 'clip' / 'open_clip_model.safetensors'
    )
    with pytest.raises(RewardModelError):
        ProgressCritic.load(tmp_path / 'w' / 'critic')
    config = tmp_path / 'w' / 'critic' / 'critic_config.json'
    shutil.copytree(folder / 'clip', tmp_path / 'w' / 'clip', dirs_exist_ok=True)
    config.write_text(config.read_text().replace(ClipReward.load(folder / 'clip').version, '0' * 12))
    with pytest.raises(RewardModelError, match='was trained on CLIP weights'):
        ProgressCritic.load(tmp_path / 'w' / 'critic')


def test_missing_critic_names_the_remedy(tmp_path):
    with pytest.raises(RewardModelError, match='apprentice train critic'):
        ProgressCritic.load(tmp_path / 'nothing')


def test_no_demonstration_no_critic(folder, tmp_path):
    frames = [np.zeros((3, 1, 32, 32, 3), np.uint8)]
    with pytest.raises(RewardModelError, match='no successful episode'):
        train_critic(
            Episodes(frames, ['pick up the red ball'], [False], ('eye',)),
            ThumbnailEye.of(['pick up the red ball']),
            tmp_path,
        )


def test_own_vocabulary_encodes_any_text(tmp_path):
    from open_clip.tokenizer import SimpleTokenizer

    texts = ['the red cube is on the table', 'the gripper is far']
    merges = learn_merges(texts, 50)
    assert merges == learn_merges(texts, 50)
    write_merges(tmp_path / 'bpe.txt.gz', merges)
    tokenizer = SimpleTokenizer(bpe_path=str(tmp_path / 'bpe.txt.gz'), context_length=40)
    assert tokenizer.vocab_size == vocabulary_size(merges)
    assert tokenizer.eot_token_id == tokenizer.vocab_size - 1
    assert len(tokenizer.encode('the the the')) == 3
    assert tokenizer.decode(tokenizer.encode('zebra 42 äß')).replace(' ', '') == 'zebra42äß'
    first = (tmp_path / 'bpe.txt.gz').read_bytes()
    write_merges(tmp_path / 'bpe.txt.gz', merges)
    assert (tmp_path / 'bpe.txt.gz').read_bytes() == first


def test_requests_are_checked():
    frames = np.zeros((1, 1, 1, 8, 8, 3), np.uint8)
    with pytest.raises(RewardModelError, match='instructions'):
        ScoreRequest(text=[], frames=frames).check()
    with pytest.raises(RewardModelError, match='uint8'):
        ScoreRequest(text=['a'], frames=frames.astype(float)).check()
    with pytest.raises(RewardModelError, match='2 frames'):
        ScoreRequest(text=['a'], frames=frames).check(2)
    with pytest.raises(RewardModelError, match='camera wrist'):
        stack_views({'front': frames[0, 0, 0]}, ['front', 'wrist'])
    small = np.zeros((4, 4, 3), np.uint8)
    assert stack_views({'a': frames[0, 0, 0], 'b': small}, ['a', 'b']).shape == (2, 8, 8, 3)


def test_a_weights_file_of_any_name_beside_its_configuration(folder, tmp_path):
    import shutil

    shutil.copytree(folder / 'clip', tmp_path / 'w')
    renamed = tmp_path / 'w' / 'second.safetensors'
    (tmp_path / 'w' / 'open_clip_model.safetensors').rename(renamed)
    frame = np.zeros((1, 32, 32, 3), np.uint8)
    expected = ClipReward.load(folder / 'clip').encode(frame)
    np.testing.assert_array_equal(ClipReward.load(renamed).encode(frame), expected)
    np.testing.assert_array_equal(ClipReward.load(tmp_path / 'w').encode(frame), expected)


def test_another_setting_is_another_version_and_other_weights_are_refused(folder, tmp_path):
    import json
    import shutil

    shutil.copytree(folder, tmp_path / 'w')
    copied = tmp_path / 'w' / 'thumbnails'
    config = json.loads((copied / 'critic_config.json').read_text())

    def version(**changes):
        (copied / 'critic_config.json').write_text(json.dumps(config | changes))
        return ProgressCritic.load(copied).version

    known = ProgressCritic.load(folder / 'thumbnails').version
    assert version() == known  # how the file is written does not count
    assert version(words=config['words'][::-1]) != known
    assert version(calibration=[0.05, 6.0]) != known
    assert version(cameras=['other']) != known
    version()
    again = tmp_path / 'w' / 'critic'
    clip_critic = ProgressCritic.load(again).version
    said = json.loads((again / 'critic_config.json').read_text())
    (again / 'critic_config.json').write_text(json.dumps(said | {'encoder': str(folder / 'clip')}))
    assert ProgressCritic.load(again).version == clip_critic  # nor does where the encoder lies
    shutil.copy(again / 'critic.safetensors', copied)
    with pytest.raises(RewardModelError, match=r'sha256 differs.*apprentice train critic'):
        ProgressCritic.load(copied)


def test_a_training_that_dies_while_it_writes_leaves_nothing_that_loads_as_whole(
    folder, tmp_path, monkeypatch
):
    import shutil

    from apprentice.reward_models.critic import train

    shutil.copytree(folder / 'thumbnails', tmp_path / 'w')
    rng = np.random.default_rng(8)
    demos = [np.stack([picture('red ball', h, rng) for h in np.linspace(0, 1, 6)])[:, None]] * 2
    texts = [f'pick up the {item}' for item in COLOURS]
    episodes = Episodes(demos, [texts[0]] * 2, [True] * 2, ('eye',))

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, 'write_sealed', killed)
    settings = CriticTraining(steps=1, episodes=2, frames=4, width=32)
    with pytest.raises(KeyboardInterrupt):
        train_critic(episodes, ThumbnailEye.of(texts), tmp_path / 'w', settings, episodes)
    with pytest.raises(RewardModelError, match='sha256 differs'):
        ProgressCritic.load(tmp_path / 'w')
