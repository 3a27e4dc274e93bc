# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Shipped architectures: readable, and of the sizes that they say."""

from __future__ import annotations

import pytest
import torch

from apprentice.policies.backbones.huggingface import HuggingFaceConfig
from apprentice.policies.config import PolicyConfig
from apprentice.policies.expert import FlowExpert
from apprentice.policies.presets import load_preset, presets

# (layers, key heads, head width) of the models that the presets are for, after the cut
LAYOUTS = {'qwen2_5_vl': (36, 2, 128), 'smolvlm': (16, 5, 64), 'paligemma': (18, 1, 256)}


def test_every_preset_is_a_policy():
    assert set(presets()) == {'tiny', *LAYOUTS}
    for name in presets():
        config = PolicyConfig.from_dict(load_preset(name))
        assert PolicyConfig.from_dict(config.to_dict()) == config
        assert isinstance(config.backbone, HuggingFaceConfig) == (name in LAYOUTS)
    assert PolicyConfig.from_dict(load_preset('tiny')) == PolicyConfig()


def test_a_file_and_what_is_none(tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text('expert: {width: 64}\n')
    assert load_preset(path) == load_preset(str(path)) == {'expert': {'width': 64}}
    for text, words in (('- 1\n', 'mapping'), ('a: [', 'not YAML')):
        path.write_text(text)
        with pytest.raises(ValueError, match=words):
            load_preset(path)
    with pytest.raises(FileNotFoundError, match='qwen2_5_vl'):
        load_preset('qwen')
    with pytest.raises(FileNotFoundError, match='tiny'):
        load_preset(tmp_path / 'none.yaml')


@pytest.mark.parametrize('name', LAYOUTS)
def test_presets_need_a_model_and_say_so(name):
    pytest.importorskip('transformers')
    from apprentice.policies.backbones.huggingface import HuggingFaceBackbone

    config = PolicyConfig.from_dict(load_preset(name))
    with pytest.raises(ValueError, match=r'policy\.backbone\.model is empty'):
        HuggingFaceBackbone({'front': (224, 224)}, 7, config.backbone)


@pytest.mark.parametrize('name', LAYOUTS)
def test_experts_fit_the_models(name):
    """Built without memory. NORA-1.5 counts 228 million in code and some 400 in the paper."""
    config = PolicyConfig.from_dict(load_preset(name))
    with torch.device('meta'):
        expert = FlowExpert(7, 5, LAYOUTS[name], config.expert)
    layers, key_heads, head_dim = LAYOUTS[name]
    assert expert.reads == list(range(layers))  # one layer of the expert for each of the model
    assert {tuple(block.sizes) for block in expert.blocks} == {
        (config.expert.heads * head_dim, key_heads * head_dim, key_heads * head_dim)
    }
    size = sum(p.numel() for p in expert.parameters())
    if name == 'qwen2_5_vl':
        assert 228e6 < size < 400e6
