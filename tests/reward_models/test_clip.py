# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Goal-baseline reward: the closed form, the prompts, and scoring through any open_clip model."""

import torch._dynamo  # isort: skip # noqa: F401 - before the first GL context of this process

import numpy as np
import pytest

from apprentice.reward_models.base import RewardModel, RewardModelError, ScoreRequest
from apprentice.reward_models.clip.encoder import ClipEncoder
from apprentice.reward_models.clip.prompts import Prompts
from apprentice.reward_models.clip.reward import ClipReward, goal_baseline_reward

STOCK = 'ViT-S-32-alt'  # the smallest of open_clip's own list


def unit(rng, *shape):
    v = rng.normal(size=shape)
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def projection_form(s, g, b, alpha):
    """Definition 1 of the paper, literally: project onto the affine line through baseline and goal."""
    d = (g - b) / np.linalg.norm(g - b)
    on_line = b + ((s - b) @ d)[..., None] * d
    return 1 - 0.5 * np.sum((alpha * on_line + (1 - alpha) * s - g) ** 2, axis=-1)


@pytest.mark.parametrize('alpha', [0.0, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize('dim', [3, 96, 1024])
def test_closed_form_is_the_projection_form(alpha, dim):
    rng = np.random.default_rng(dim)
    s, g, b = unit(rng, 50, dim), unit(rng, dim), unit(rng, dim)
    np.testing.assert_allclose(
        goal_baseline_reward(s, g, b, alpha), projection_form(s, g, b, alpha), atol=1e-6
    )


def test_alpha_zero_is_the_cosine_and_the_goal_scores_one():
    rng = np.random.default_rng(0)
    s, g, b = unit(rng, 20, 64), unit(rng, 64), unit(rng, 64)
    np.testing.assert_allclose(goal_baseline_reward(s, g, b, 0.0), s @ g, atol=1e-12)
    for alpha in (0.0, 0.5, 1.0):
        assert goal_baseline_reward(g, g, b, alpha) == pytest.approx(1.0)


def test_equal_goal_and_baseline_are_refused():
    g = np.array([1.0, 0.0])
    with pytest.raises(RewardModelError, match='word them differently'):
        goal_baseline_reward(g, g, g, 0.5)


def test_prompts_name_the_object_and_the_wrong_ones():
    prompts = Prompts(goal=('holds {object}',), objects=('red cube', 'blue cube', 'mug'))
    assert prompts.goals('Pick up the red cube.') == ['holds red cube']
    assert prompts.wrong_instructions('pick up the red cube') == ['pick up the blue cube', 'pick up the mug']
    assert prompts.wrong_instructions('wave {} at me') == []
    assert Prompts().goals('open the {left} door') == ['open the {left} door']
    assert Prompts.from_dict(prompts.to_dict()) == prompts


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        ({'goals': []}, 'unknown field'),
        ({'pattern': '('}, 'regular expression'),
        ({'pattern': 'x'}, 'object'),
    ],
)
def test_wrong_prompts_are_refused(data, words):
    with pytest.raises(RewardModelError, match=words):
        Prompts.from_dict(data)


@pytest.fixture(scope='module')
def stock(tmp_path_factory):
    """A stock open_clip architecture with random weights, saved to a file."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = open_clip.create_model(STOCK).half().float()  # stored as half: the values are the same
    path = tmp_path_factory.mktemp('stock') / 'weights.safetensors'
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, path)
    yield model.eval(), path
    path.unlink()  # pytest keeps temporary folders; 80 MB each is too much


def test_stock_model_by_name_and_file(stock):
    import open_clip
    import torch
    from PIL import Image

    model, path = stock
    reward = ClipReward.load(f'{STOCK}:{path}')
    assert isinstance(reward, RewardModel)
    frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    # against open_clip used by hand, with its own transform and tokenizer
    transform = open_clip.image_transform(224, is_train=False)
    with torch.no_grad():
        image = model.encode_image(transform(Image.fromarray(frame))[None], normalize=True)
        text = model.encode_text(open_clip.get_tokenizer(STOCK)(['wave']), normalize=True)
    np.testing.assert_allclose(reward.encode(frame[None])[0], image[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(reward.encoder.text(['wave'])[0], text[0].numpy(), atol=1e-5)
    score = reward.score(ScoreRequest(text=['wave'], frames=frame[None, None, None]))
    assert score.value.shape == (1,)
    assert score.valid.all()
    assert 0 <= score.done_prob[0] <= 1


def test_weights_of_another_architecture_are_refused(stock):
    with pytest.raises(RewardModelError, match='cannot be loaded'):
        ClipEncoder.load(f'ViT-B-32:{stock[1]}')


@pytest.mark.parametrize(
    ('source', 'words'),
    [
        ('no/such/folder', 'do not exist.*apprentice train clip'),
        ('ViT-B-32:laion2b_s34b_b79k', 'not on this machine.*allow_download'),
        ('ViT-B-32:no_such_tag', 'neither a file nor a pretrained tag'),
        ('ViT-Z-99:openai', 'no model'),
        ('hf-hub:someone/something', 'allow_download'),
    ],
)
def test_missing_weights_name_cause_and_remedy(source, words, monkeypatch, tmp_path):
    monkeypatch.setenv('HF_HOME', str(tmp_path))
    with pytest.raises(RewardModelError, match=words):
        ClipEncoder.load(source)


def test_pickled_weights_are_refused(tmp_path):
    (tmp_path / 'w.pt').write_bytes(b'x')
    with pytest.raises(RewardModelError, match='safetensors'):
        ClipEncoder.load(f'ViT-B-32:{tmp_path / "w.pt"}')


def test_folder_without_weights(tmp_path):
    (tmp_path / 'open_clip_config.json').write_text('{}')
    with pytest.raises(RewardModelError, match='holds no weights'):
        ClipEncoder.load(tmp_path)
