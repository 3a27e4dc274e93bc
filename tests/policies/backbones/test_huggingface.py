# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Vision-language models as backbones: what they give the expert, padding, positions, masks and errors."""

from __future__ import annotations

import dataclasses
import importlib.util

import pytest
import torch
import transformers
from small_policies import LONG, SHORT, item, make_inputs, make_policy

from apprentice.bench.small_vlm import CAMERAS, LAYERS
from apprentice.policies.backbones.huggingface import HuggingFaceBackbone, HuggingFaceConfig

CLOSE = {'atol': 2e-5, 'rtol': 1e-4}


def make_backbone(folder, **config) -> HuggingFaceBackbone:
    torch.manual_seed(3)
    return HuggingFaceBackbone(CAMERAS, 7, HuggingFaceConfig(model=str(folder), **config)).eval()


def encode(backbone, inputs):
    return backbone.encode(inputs.images, inputs.state, inputs.text)


def by_transformers(folder, inputs, text: str, **leave_out):
    """What the whole model and its processor give for one observation, without any code of ours."""
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder)
    images = [stack[0].permute(2, 0, 1) for stack in inputs.images.values()]
    if processor.chat_template:
        content = [*({'type': 'image'} for _ in images), {'type': 'text', 'text': text}]
        message = [{'role': 'user', 'content': content}]
        text = processor.apply_chat_template(message, add_generation_prompt=True, tokenize=False)
    else:
        text = '<image>' * len(images) + text
    split = {'do_image_splitting': False} if 'smolvlm' in folder.name else {}
    made = processor(text=[text], images=[images], return_tensors='pt', **split)
    made = {name: value for name, value in made.items() if name != 'labels' and name not in leave_out}
    with torch.no_grad():
        out = model(**made, use_cache=True, output_hidden_states=True)
    cache = out['cache'] if 'cache' in out else out['past_key_values']
    return torch.stack([layer.keys for layer in cache.layers]), out.hidden_states[-1]


@torch.no_grad()
def test_prefix_is_what_the_model_caches(folder):
    inputs, backbone = make_inputs(SHORT), make_backbone(folder)
    prefix = encode(backbone, inputs)
    keys, hidden = by_transformers(folder, inputs, SHORT)
    assert prefix.keys.shape == (LAYERS, 1, keys.shape[2], keys.shape[3], 8)
    assert backbone.layout == (LAYERS, keys.shape[2], 8)
    assert prefix.mask.all()
    torch.testing.assert_close(prefix.keys, keys, **CLOSE)
    torch.testing.assert_close(prefix.pooled, hidden.mean(1), **CLOSE)
    assert (prefix.keys - prefix.values).abs().max() > 0.1


@torch.no_grad()
def test_qwen_has_positions_in_two_directions(qwen):
    inputs = make_inputs(SHORT)
    prefix = encode(make_backbone(qwen), inputs)
    plain, _ = by_transformers(qwen, inputs, SHORT, mm_token_type_ids=True)
    assert prefix.keys.shape == plain.shape
    assert (prefix.keys - plain).abs().max() > 1e-2


@torch.no_grad()
def test_only_paligemma_looks_back_from_the_images(folder):
    backbone = make_backbone(folder)
    first, other = (encode(backbone, make_inputs(text)) for text in (SHORT, SHORT.replace('cube', 'box')))
    change = (first.keys - other.keys).abs().amax((0, 1, 2, 4))
    assert change.max() > 1e-2  # somewhere the words matter
    assert (change[1] > 1e-4) == (folder.name == 'paligemma')


@pytest.mark.parametrize(('side', 'state_tokens'), [('left', 0), ('right', 2)])
def test_batch_of_different_lengths_equals_single_items(folder, side, state_tokens):
    policy = make_policy(folder, state_tokens=state_tokens)
    policy.backbone.prompts.processor.tokenizer.padding_side = side
    inputs, g = make_inputs(SHORT, LONG, 'close it'), torch.Generator()
    prefix = policy.encode(inputs)
    lengths = prefix.mask.sum(1).tolist()
    assert lengths[1] - lengths[0] == 9
    assert not prefix.mask.all()
    together = policy.candidates(inputs, 2, [torch.Generator().manual_seed(i) for i in range(3)])
    for index in range(3):
        alone = policy.candidates(item(inputs, index), 2, [g.manual_seed(index)])
        torch.testing.assert_close(together[index : index + 1], alone, atol=1e-4, rtol=1e-3)
        single, real = policy.encode(item(inputs, index)), prefix.mask[index]
        assert real.sum() == single.mask.sum() == single.mask.shape[1]
        torch.testing.assert_close(prefix.keys[:, index][:, :, real], single.keys[:, 0], **CLOSE)
    assert (together[0] - together[1]).abs().max() > 1e-3


@torch.no_grad()
def test_state_tokens_come_last_and_carry_the_state(folder):
    inputs, backbone = make_inputs(SHORT), make_backbone(folder, state_tokens=2)
    without, with_state = encode(make_backbone(folder), inputs), encode(backbone, inputs)
    assert with_state.mask.sum() == without.mask.sum() + 2
    moved = encode(backbone, dataclasses.replace(inputs, state=inputs.state + 1))
    change = (with_state.keys - moved.keys).abs().amax((0, 1, 2, 4))
    assert change[-2:].min() > 1e-3
    if folder.name != 'paligemma':  # causal: what comes before does not see them
        assert change[:-2].max() == 0
        torch.testing.assert_close(with_state.keys[:, :, :, :-2], without.keys, **CLOSE)


@torch.no_grad()
def test_every_camera_and_word_matters(folder):
    inputs, backbone = make_inputs(SHORT), make_backbone(folder)
    before = encode(backbone, inputs).pooled
    for name in CAMERAS:
        changed = {**inputs.images, name: 255 - inputs.images[name]}
        after = encode(backbone, dataclasses.replace(inputs, images=changed)).pooled
        assert (after - before).abs().max() > 1e-4, name
    swapped = dict(zip(inputs.images, reversed(inputs.images.values())))
    assert (encode(backbone, dataclasses.replace(inputs, images=swapped)).pooled - before).abs().max() > 1e-4
    # the order of a dictionary does not matter
    shuffled = dict(reversed(inputs.images.items()))
    torch.testing.assert_close(encode(backbone, dataclasses.replace(inputs, images=shuffled)).pooled, before)
    # augmented images are floats
    floats = {name: stack.float() + 0.2 for name, stack in inputs.images.items()}
    torch.testing.assert_close(encode(backbone, dataclasses.replace(inputs, images=floats)).pooled, before)


@torch.no_grad()
def test_layers_are_cut_from_the_end(folder):
    inputs, whole, cut = make_inputs(SHORT), make_backbone(folder), make_backbone(folder, layers=2)
    assert cut.layout == (2, *whole.layout[1:])
    torch.testing.assert_close(encode(cut, inputs).keys, encode(whole, inputs).keys[:2])
    assert len(list(cut.parameters())) < len(list(whole.parameters()))
    with pytest.raises(ValueError, match=f'has {LAYERS}'):
        make_backbone(folder, layers=LAYERS + 1)


@torch.no_grad()
def test_bfloat16_weights_give_a_prefix_for_a_float32_expert(folder):
    inputs, backbone = make_inputs(SHORT), make_backbone(folder, dtype='bfloat16', lora_rank=2)
    types = {name: parameter.dtype for name, parameter in backbone.named_parameters()}
    assert {kind for name, kind in types.items() if 'lora' in name} == {torch.float32}
    assert {kind for name, kind in types.items() if 'lora' not in name} == {torch.bfloat16}
    prefix, exact = encode(backbone, inputs), encode(make_backbone(folder), inputs)
    assert prefix.keys.dtype == prefix.pooled.dtype == torch.float32
    assert 0 < (prefix.keys - exact.keys).abs().mean() < 0.05 * exact.keys.abs().mean()


@torch.no_grad()
def test_image_size_decides_how_many_tokens_qwen_has(qwen):
    inputs = make_inputs(SHORT)
    counts = [int(encode(make_backbone(qwen, image_size=n), inputs).mask.sum()) for n in (28, 56, 84)]
    assert [count - counts[0] for count in counts] == [0, 2 * 3, 2 * 8]  # 1, 4 and 9 tokens a camera


def test_prefix_is_encoded_once_for_all_candidates(folder):
    policy, calls = make_policy(folder), []
    policy.backbone.model.register_forward_hook(lambda *args: calls.append(1))
    chunks = policy.candidates(make_inputs(SHORT, LONG), 5, torch.Generator().manual_seed(0))
    assert chunks.shape == (2, 5, 4, 7)
    assert torch.isfinite(chunks).all()
    assert len(calls) == 1


def test_expert_takes_the_rotary_base_of_the_model(folder):
    assert make_policy(folder).expert.config.rope_theta == (1e6 if 'qwen' in folder.name else 1e4)


# errors


def test_instructions_that_cannot_be_used(folder):
    policy = make_policy(folder)
    placeholder = policy.backbone.prompts.processor.image_token
    for text, words in (
        ('', 'instruction 1 is empty'),
        ('  \n', 'instruction 1 is empty'),
        (f'pick {placeholder}', 'stands for an image'),
        ('pick ' * 100, r'instruction 1 .* the model takes 96; shorten it'),
    ):
        with pytest.raises(ValueError, match=words):
            policy.encode(make_inputs(SHORT, text))


def test_a_camera_that_is_missing_is_named(folder):
    inputs = make_inputs(SHORT)
    del inputs.images['wrist']
    with pytest.raises(KeyError, match='wrist'):
        make_policy(folder).encode(inputs)
    with pytest.raises(ValueError, match='needs a camera'):
        HuggingFaceBackbone({}, 7, HuggingFaceConfig(model=str(folder)))


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'freeze': True, 'lora_rank': 4}, 'set one of them'),
        ({'quantize': '8bit'}, 'cannot be trained whole'),
        ({'quantize': '3bit', 'freeze': True}, '3bit'),
        ({'dtype': 'float16'}, 'float16'),
        ({'layers': -1}, 'layers is -1'),
    ],
)
def test_settings_that_contradict_each_other(settings, words):
    with pytest.raises(ValueError, match=words):
        HuggingFaceConfig(**settings)


def test_settings_that_do_not_fit_the_model(qwen):
    with pytest.raises(ValueError, match=r'\{text\}'):
        make_backbone(qwen, prompt='do it')
    with pytest.raises(ValueError, match="'k_proj'"):
        make_backbone(qwen, lora_rank=2, lora_targets=('key',))


@pytest.mark.skipif(importlib.util.find_spec('bitsandbytes') is not None, reason='bitsandbytes is installed')
def test_quantised_loading_names_the_package(qwen):
    with pytest.raises(ImportError, match='pip install bitsandbytes'):
        make_backbone(qwen, quantize='4bit', freeze=True)


def test_prompt_is_put_around_the_instruction(qwen):
    plain, asking = make_backbone(qwen), make_backbone(qwen, prompt='now {text} and then close it')
    with torch.no_grad():
        asked = encode(asking, make_inputs(SHORT))
        said = encode(plain, make_inputs(f'now {SHORT} and then close it'))
    torch.testing.assert_close(asked.keys, said.keys)
