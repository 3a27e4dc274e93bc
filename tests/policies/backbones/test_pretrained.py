# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Models on this machine: found, told apart, complete. And policies on them, saved and read again."""

from __future__ import annotations

import json
import shutil
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_policies import LONG, SHORT, make_inputs, make_policy, make_spec

from apprentice.bench.small_vlm import FAMILIES
from apprentice.learning import snapshot
from apprentice.learning.weighted_flow import WeightedFlow, WeightedFlowConfig
from apprentice.policies import checkpoint
from apprentice.policies.backbones.pretrained import find_model
from apprentice.policies.backbones.tiny import TinyBackbone, TinyConfig
from apprentice.policies.checkpoint import CheckpointError
from apprentice.policies.config import PolicyConfig
from apprentice.policies.policy import FlowPolicy
from apprentice.robot.model_folders import MODELS, fingerprint


@pytest.fixture
def moved(qwen, tmp_path):
    """A model that may be changed and moved."""
    return shutil.copytree(qwen, tmp_path / 'models' / 'qwen')


def actions(policy) -> torch.Tensor:
    return policy.candidates(make_inputs(SHORT, LONG), 2, torch.Generator().manual_seed(0))


# finding


def test_a_model_is_found_by_path_or_by_its_last_name(moved, monkeypatch):
    assert find_model(str(moved)) == moved
    with pytest.raises(FileNotFoundError, match=MODELS):
        find_model('/gone/qwen')
    monkeypatch.setenv(MODELS, f'/nowhere:{moved.parent}')
    assert find_model('/gone/qwen') == find_model('somebody/qwen') == moved
    with pytest.raises(FileNotFoundError, match=r'/nowhere/other'):
        find_model('other')


def test_nothing_is_downloaded_unasked(monkeypatch, tmp_path):
    import huggingface_hub

    asked = []

    def snapshot_download(name, local_files_only, **kwargs):
        asked.append(local_files_only)
        raise FileNotFoundError('not here')

    monkeypatch.setattr(huggingface_hub, 'snapshot_download', snapshot_download)
    with pytest.raises(FileNotFoundError, match='download=true'):
        find_model('owner/model')
    assert asked == [True]
    with pytest.raises(FileNotFoundError, match='cannot download'):
        find_model('owner/model', download=True)
    assert asked == [True, False]
    with pytest.raises(ValueError, match=r'policy\.backbone\.model is empty'):
        find_model('')


def test_a_model_that_is_not_complete_is_refused(moved):
    weights = moved / 'model.safetensors'
    tensors = load_file(weights)
    lost = next(name for name in tensors if 'layers.1.self_attn.k_proj.weight' in name)
    save_file({n: t for n, t in tensors.items() if n != lost}, weights, {'format': 'pt'})
    with pytest.raises(ValueError, match=r'lacks 1 weights .* such as \S*layers\.1\.self_attn\.k_proj'):
        make_policy(moved)
    weights.unlink()
    with pytest.raises(ValueError, match='does not load'):
        make_policy(moved)


def test_a_model_without_processor_is_refused(moved):
    for name in (
        'processor_config.json',
        'preprocessor_config.json',
        'tokenizer.json',
        'tokenizer_config.json',
    ):
        (moved / name).unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r'processor|tokenizer'):
        make_policy(moved)


def test_fingerprint_tells_models_apart(moved, tmp_path):
    first = fingerprint(moved)
    assert fingerprint(shutil.copytree(moved, tmp_path / 'copy')) == first
    FAMILIES['qwen2_5_vl'](moved, seed=1)
    assert fingerprint(moved) != first


# checkpoints


@pytest.mark.parametrize(
    ('family', 'settings'),
    [
        ('qwen2_5_vl', {}),
        ('smolvlm', {'dtype': 'bfloat16'}),
        ('qwen2_5_vl', {'lora_rank': 2, 'state_tokens': 1}),
        ('paligemma', {'lora_rank': 2, 'dtype': 'bfloat16'}),
        ('smolvlm', {'freeze': True, 'layers': 2}),
    ],
    ids=['all', 'all bfloat16', 'adapters', 'adapters bfloat16', 'frozen'],
)
def test_round_trip_gives_equal_actions(make_model, family, settings, tmp_path):
    policy = make_policy(make_model(family), **settings)
    digest = checkpoint.save(policy, tmp_path / 'p')
    loaded, manifest = checkpoint.load(tmp_path / 'p', digest)
    assert torch.equal(actions(policy), actions(loaded))
    stored = load_file(tmp_path / 'p' / checkpoint.WEIGHTS)
    pretrained = {n: t for n, t in stored.items() if n.startswith('backbone.model.') and 'lora_' not in n}
    whole = not settings.get('lora_rank') and not settings.get('freeze')
    assert bool(pretrained) == whole
    assert ('base' in manifest) == (not whole)
    kind = torch.bfloat16 if settings.get('dtype') else torch.float32
    assert {t.dtype for t in pretrained.values()} <= {kind}
    assert {t.dtype for n, t in stored.items() if n not in pretrained} == {torch.float32}


def test_a_checkpoint_of_adapters_is_small_and_finds_its_model_again(moved, tmp_path, monkeypatch):
    policy = make_policy(moved, lora_rank=2)
    expected = actions(policy)
    checkpoint.save(policy, tmp_path / 'p')
    stored = load_file(tmp_path / 'p' / checkpoint.WEIGHTS)
    trained = {name for name, p in policy.named_parameters() if p.requires_grad}
    assert set(stored) == trained

    elsewhere = tmp_path / 'elsewhere' / 'qwen'
    shutil.move(moved, elsewhere)
    with pytest.raises(CheckpointError, match=f'missing: no model .*{MODELS}'):
        checkpoint.load(tmp_path / 'p')
    found, _ = checkpoint.load(tmp_path / 'p', base=elsewhere)
    assert torch.equal(actions(found), expected)
    assert found.config.backbone.model == str(elsewhere)
    monkeypatch.setenv(MODELS, str(elsewhere.parent))
    found, _ = checkpoint.load(tmp_path / 'p')
    assert torch.equal(actions(found), expected)
    # what was read is saved again, and read again
    checkpoint.save(found, tmp_path / 'q')
    assert torch.equal(actions(checkpoint.load(tmp_path / 'q')[0]), expected)


def test_another_model_in_the_same_place_is_refused(moved, tmp_path):
    checkpoint.save(make_policy(moved, freeze=True), tmp_path / 'p')
    FAMILIES['qwen2_5_vl'](moved, seed=1)
    with pytest.raises(CheckpointError, match='trained on another model'):
        checkpoint.load(tmp_path / 'p')
    shutil.rmtree(moved)
    FAMILIES['smolvlm'](moved)
    with pytest.raises(CheckpointError, match='trained on another model'):
        checkpoint.load(tmp_path / 'p')


def test_settings_of_another_version_are_refused(qwen, tmp_path):
    checkpoint.save(make_policy(qwen, lora_rank=2), tmp_path / 'p')
    path = tmp_path / 'p' / checkpoint.MANIFEST
    manifest = json.loads(path.read_text())
    for change, words in (
        ({'rank_pattern': 3}, r"no \['rank_pattern'\].*another version"),
        ({'layers': 9}, 'cannot be built'),
        ({'lora_rank': 4}, 'do not fit their own configuration'),
    ):
        backbone = {**manifest['config']['backbone'], **change}
        path.write_text(json.dumps({**manifest, 'config': {**manifest['config'], 'backbone': backbone}}))
        with pytest.raises(CheckpointError, match=words):
            checkpoint.load(tmp_path / 'p')


def test_a_policy_that_holds_all_of_its_weights_takes_no_base(tmp_path):
    checkpoint.save(FlowPolicy(make_spec_of_tiny()), tmp_path / 'p')
    with pytest.raises(CheckpointError, match='leave base out'):
        checkpoint.load(tmp_path / 'p', base='/somewhere')


def make_spec_of_tiny():
    import dataclasses

    return dataclasses.replace(make_spec(), cameras={'front': (64, 64)})


class TiedConfig(TinyConfig):
    """Of :class:`TiedBackbone`."""

    part: ClassVar[str] = f'{__name__}:TiedBackbone'


class TiedBackbone(TinyBackbone):
    """One weight under two names, and a weight that is a part of another."""

    Config = TiedConfig

    def __init__(self, *args):
        super().__init__(*args)
        self.also = self.words
        self.part = torch.nn.Parameter(torch.randn(10, 4)[:, 0])


def test_tied_weights_are_stored_once(tmp_path):
    policy = FlowPolicy(make_spec_of_tiny(), PolicyConfig(backbone=TiedConfig(width=32, heads=2)))
    checkpoint.save(policy, tmp_path / 'p')
    stored = load_file(tmp_path / 'p' / checkpoint.WEIGHTS)
    assert ('backbone.words.weight' in stored) != ('backbone.also.weight' in stored)
    loaded, _ = checkpoint.load(tmp_path / 'p')
    assert loaded.backbone.also.weight is loaded.backbone.words.weight
    for name, tensor in policy.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_a_snapshot_of_the_learner_holds_no_pretrained_weights(qwen, tmp_path):
    algorithm = WeightedFlow(make_policy(qwen, lora_rank=2).train(), WeightedFlowConfig())
    snapshot.save(algorithm, tmp_path / 's', {})
    names = load_file(tmp_path / 's' / snapshot.TENSORS)
    assert not [n for n in names if '.backbone.model.' in n and 'lora_' not in n]
    other = WeightedFlow(make_policy(qwen, lora_rank=2).train(), WeightedFlowConfig())
    with torch.no_grad():
        for parameter in other.policy.parameters():
            if parameter.requires_grad:
                parameter.add_(1.0)
    assert snapshot.restore(other, tmp_path / 's') is not None
    assert torch.equal(actions(other.policy.eval()), actions(algorithm.policy.eval()))
