# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Softmax over goals and start similarity; SigLIP and Hugging Face folders through the same encoder."""

import torch._dynamo  # isort: skip # noqa: F401 - before the first GL context of this process

import json

import numpy as np
import pytest

from apprentice.reward_models.base import RewardModel, RewardModelError, ScoreRequest
from apprentice.reward_models.clip.encoder import ClipEncoder
from apprentice.reward_models.clip.goals import SoftmaxGoals, StartSimilarity
from apprentice.reward_models.clip.reward import ClipReward
from apprentice.reward_models.online import EpisodeScorer
from apprentice.robot.parts import load_part, share

RED, BLUE = 'pick up the red cube', 'pick up the blue cube'


@pytest.fixture(scope='module')
def clip():
    return ClipReward.load(share('weights', 'clip'))


def unit(rng, *shape):
    v = rng.normal(size=shape).astype(np.float32)
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def test_softmax_over_goals_is_the_softmax(clip):
    goals = SoftmaxGoals(clip, temperature=0.1, threshold=None)
    assert isinstance(goals, RewardModel)
    emb = unit(np.random.default_rng(0), 1, 3, 1, clip.encoder.dim)
    score = goals.score(ScoreRequest(text=[RED], emb=emb))
    encoder, prompts = clip.encoder, clip.prompts
    wrong = prompts.wrong_instructions(RED)
    vectors = [encoder.mean_text(prompts.goals(t)) for t in (RED, *wrong)]
    vectors = np.stack([*vectors, *encoder.text(prompts.contrasts(RED))])
    logits = emb[0, :, 0] @ vectors.T / 0.1
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(score.per_frame[0], p[:, 0], rtol=1e-4)
    assert score.margin[0] == pytest.approx(p[-1, 0] - p[-1, 1 : 1 + len(wrong)].max(), rel=1e-3)
    # the goal's own words are the goal
    at_goal = np.stack([vectors[0], vectors[1]])[:, None, None].astype(np.float32)
    for temperature, threshold, values in ((0.02, 0.3, [1.0, 0.0]), (1.0, 0.5, [0.0, 0.0])):
        hard = SoftmaxGoals(clip, temperature, threshold)
        assert hard.score(ScoreRequest(text=[RED, RED], emb=at_goal)).value.tolist() == values
    with pytest.raises(RewardModelError, match='temperature'):
        SoftmaxGoals(clip, temperature=0.0)


def test_start_similarity_is_the_difference(clip):
    start = load_part('apprentice.reward_models.clip.goals:StartSimilarity').load(share('weights', 'clip'))
    assert isinstance(start, StartSimilarity)
    emb = unit(np.random.default_rng(1), 2, 4, 2, clip.encoder.dim)
    score = start.score(ScoreRequest(text=[RED, BLUE], emb=emb, neg_text=[[BLUE], []]))
    goal = clip.encoder.mean_text(clip.prompts.goals(RED))
    by_hand = np.mean(
        [[emb[0, t, v] @ goal - emb[0, t, v] @ emb[0, 0, v] for v in (0, 1)] for t in range(4)], axis=1
    )
    np.testing.assert_allclose(score.per_frame[0], by_hand, atol=1e-5)
    other = clip.encoder.mean_text(clip.prompts.goals(BLUE))
    assert score.margin[0] == pytest.approx((emb[0, 3] @ (goal - other)).mean(), abs=1e-5)
    assert np.isnan(score.margin[1])
    mask = np.ones((2, 4, 2), bool)
    mask[0, 0, 0] = False  # without its start a view says nothing
    masked = start.score(ScoreRequest(text=[RED, BLUE], emb=emb, mask=mask))
    alone = start.score(ScoreRequest(text=[RED], emb=emb[:1, :, 1:]))
    assert masked.value[0] == pytest.approx(alone.value[0])
    # frame by frame, as on the robot
    scorer = EpisodeScorer(start, RED)
    online = [scorer.add(t, emb[0, t]).value for t in range(4)]
    np.testing.assert_allclose(online, score.per_frame[0], atol=1e-5)
    mask[0, 0] = False
    assert start.score(ScoreRequest(text=[RED, BLUE], emb=emb, mask=mask)).valid.tolist() == [False, True]


def small_tokenizer(folder):
    transformers = pytest.importorskip('transformers')
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ['<pad>', '<unk>', '<bos>', '<eos>', 'pick', 'up', 'the', 'red', 'blue', 'cube', 'wave']
    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token='<unk>'))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        '<bos> $A <eos>', special_tokens=[('<bos>', 2), ('<eos>', 3)]
    )
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token='<pad>', unk_token='<unk>', bos_token='<bos>', eos_token='<eos>'
    )
    made.save_pretrained(folder)
    return made, len(words)


@pytest.mark.parametrize('sigmoid', [True, False])
def test_a_hub_folder_of_open_clip_loads(sigmoid, tmp_path):
    import open_clip
    import torch
    from safetensors.torch import save_file

    _, words = small_tokenizer(tmp_path)
    vision = {'image_size': 32, 'layers': 1, 'width': 32, 'head_width': 16, 'patch_size': 16}
    text = {'context_length': 12, 'vocab_size': words, 'width': 32, 'heads': 2, 'layers': 1}
    text |= {'hf_tokenizer_name': 'of-the-folder', 'tokenizer_kwargs': {'clean': 'canonicalize'}}
    config = {'embed_dim': 24, 'vision_cfg': vision, 'text_cfg': text}
    if sigmoid:  # as the configurations of SigLIP
        config |= {'init_logit_bias': -10.0, 'custom_text': True}
        text |= {'no_causal_mask': True, 'proj_bias': True, 'pool_type': 'last'}
        vision |= {'pool_type': 'avg'}
    preprocess = {'mean': [0.5] * 3, 'std': [0.5] * 3, 'interpolation': 'bicubic', 'resize_mode': 'squash'}
    whole = {'model_cfg': config, 'preprocess_cfg': preprocess}
    (tmp_path / 'open_clip_config.json').write_text(json.dumps(whole))
    torch.manual_seed(0)
    kind = open_clip.CustomTextCLIP if sigmoid else open_clip.CLIP
    arguments = {k: v for k, v in config.items() if k != 'custom_text'}
    arguments['text_cfg'] = {k: v for k, v in text.items() if k not in ('tokenizer_kwargs',)}
    model = kind(**arguments)
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / 'open_clip_model.safetensors'
    )
    encoder = ClipEncoder.load(tmp_path)
    frame = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    with torch.no_grad():
        pixels = torch.from_numpy(frame).permute(0, 3, 1, 2) / 127.5 - 1
        expected = model.eval().encode_image(pixels, normalize=True).numpy()
    np.testing.assert_allclose(encoder.images(frame), expected, atol=1e-5)
    assert (getattr(encoder.network, 'logit_bias', None) is not None) == sigmoid
    texts = encoder.text([RED, BLUE])
    assert np.abs(texts[0] - texts[1]).max() > 1e-3
    score = ClipReward(encoder).score(ScoreRequest(text=[RED], frames=frame[None, None, :1]))
    assert score.valid.all()


@pytest.mark.parametrize('family', ['clip', 'siglip'])
def test_a_transformers_folder_loads(family, tmp_path):
    transformers = pytest.importorskip('transformers')
    import torch
    from PIL import Image

    tokenizer, words = small_tokenizer(tmp_path)
    sizes = {'hidden_size': 32, 'intermediate_size': 48, 'num_hidden_layers': 1, 'num_attention_heads': 2}
    text = {**sizes, 'vocab_size': words, 'max_position_embeddings': 12, 'pad_token_id': 0}
    text |= {'bos_token_id': 2, 'eos_token_id': 3, 'projection_dim': 24}
    vision = {**sizes, 'image_size': 32, 'patch_size': 16, 'projection_dim': 24}
    torch.manual_seed(1)
    if family == 'clip':
        config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
        model = transformers.CLIPModel(config)
        images = transformers.CLIPImageProcessor(
            size={'shortest_edge': 32}, crop_size={'height': 32, 'width': 32}
        )
    else:
        model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=vision))
        images = transformers.SiglipImageProcessor(size={'height': 32, 'width': 32}, resample=3)
    model.save_pretrained(tmp_path)
    images.save_pretrained(tmp_path)
    encoder = ClipEncoder.load(tmp_path)
    frame = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    with torch.no_grad():
        made = images(Image.fromarray(frame), return_tensors='pt')
        out = model.eval().get_image_features(**made)
        out = out if isinstance(out, torch.Tensor) else out.pooler_output
        said = (
            model.get_text_features(
                **tokenizer([RED], padding='max_length', max_length=12, return_tensors='pt')
            )
            if family == 'clip'
            else None
        )
    expected = torch.nn.functional.normalize(out, dim=-1).numpy()
    np.testing.assert_allclose(encoder.images(frame[None]), expected, atol=2e-3)
    texts = encoder.text([RED, BLUE])
    if said is not None:
        said = said if isinstance(said, torch.Tensor) else said.pooler_output
        np.testing.assert_allclose(
            texts[0], torch.nn.functional.normalize(said, dim=-1)[0].numpy(), atol=1e-4
        )
    assert encoder.images(frame[None]).shape[1] == texts.shape[1]
    assert np.abs(texts[0] - texts[1]).max() > 1e-3
    # a frame of another shape is resized as the model's own processor does
    wide = np.random.default_rng(1).integers(0, 256, (40, 64, 3), dtype=np.uint8)
    assert np.isfinite(encoder.images(wide[None])).all()
    assert (
        ClipReward.load(tmp_path).score(ScoreRequest(text=[RED], frames=wide[None, None, None])).valid.all()
    )
    (tmp_path / 'model.safetensors').unlink()
    with pytest.raises(RewardModelError):
        ClipEncoder.load(tmp_path)
