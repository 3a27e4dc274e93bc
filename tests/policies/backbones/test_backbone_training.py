# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What is trained of a pretrained backbone, and what is not."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from small_policies import LONG, SHORT, make_inputs, make_policy

from apprentice.learning.dataset import Chunks
from apprentice.learning.weighted_flow import WeightedFlow, WeightedFlowConfig


def backward(policy) -> dict[str, float]:
    """Largest gradient of each parameter of the backbone after a flow loss; 0 for none."""
    policy.train().zero_grad()
    g = torch.Generator().manual_seed(5)
    actions, noise = (torch.randn(2, 4, 7, generator=g) for _ in range(2))
    prefix = policy.encode(make_inputs(SHORT, LONG))
    policy.flow_loss(prefix, actions, noise, torch.full((2, 4), 0.5)).mean().backward()
    assert all(p.grad is not None for p in policy.expert.parameters())
    return {
        name: 0.0 if p.grad is None else float(p.grad.abs().max())
        for name, p in policy.backbone.named_parameters()
    }


def touched(gradients: dict[str, float]) -> set[str]:
    return {name for name, size in gradients.items() if size > 0}


def test_gradient_reaches_the_whole_model(folder):
    reached = touched(backward(make_policy(folder)))
    for part in ('layers.0.self_attn.k_proj.weight', 'layers.1.mlp.up_proj.weight', 'embed_tokens'):
        assert any(part in name for name in reached), part
    assert any('vis' in name for name in reached)  # the image encoder
    assert all('lora' not in name for name in reached)


def test_gradient_reaches_only_adapters(folder):
    gradients = backward(make_policy(folder, lora_rank=2))
    reached = touched(gradients)
    assert reached
    assert all('lora_' in name for name in reached)
    for layer in (0, 1, 2):
        for end in ('k_proj.lora_A', 'k_proj.lora_B', 'v_proj.lora_A', 'v_proj.lora_B'):
            assert any(f'layers.{layer}.self_attn.{end}' in name for name in reached), (layer, end)
    assert any('layers.1.mlp.down_proj.lora_B' in name for name in reached)
    assert not any('vis' in name for name in reached)


def test_adapters_only_where_they_were_asked_for(qwen):
    names = [n for n, _ in make_policy(qwen, lora_rank=2, lora_targets=('k_proj',)).named_parameters()]
    assert {n.split('.lora_')[0].rpartition('.')[2] for n in names if 'lora_' in n} == {'k_proj'}


def test_fresh_adapters_change_nothing(folder):
    inputs = make_inputs(SHORT)
    plain, adapted = make_policy(folder).backbone, make_policy(folder, lora_rank=2).backbone
    for name, parameter in adapted.named_parameters():
        if 'lora_B' in name:
            torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        first, second = (b.encode(inputs.images, inputs.state, inputs.text) for b in (plain, adapted))
    torch.testing.assert_close(first.keys, second.keys)


def test_frozen_model_gets_no_gradient_but_its_state_tokens_do(folder):
    assert not touched(backward(make_policy(folder, freeze=True)))
    policy = make_policy(folder, freeze=True, state_tokens=1)
    assert touched(backward(policy)) == {'state.weight', 'state.bias'}


@pytest.mark.parametrize('settings', [{}, {'lora_rank': 2}, {'freeze': True, 'state_tokens': 1}])
def test_insulation_keeps_the_gradient_from_the_backbone(qwen, settings):
    assert not touched(backward(make_policy(qwen, insulate=True, **settings)))


def test_recomputing_layers_changes_no_gradient(folder):
    settings = {'lora_rank': 2, 'state_tokens': 1} if 'qwen' in folder.name else {}
    plain = make_policy(folder, **settings)
    saving = make_policy(folder, gradient_checkpointing=True, **settings)
    saving = copy.deepcopy(saving)  # a copy recomputes its own layers
    saving.load_state_dict(plain.state_dict())
    calls = []
    layer = saving.backbone.model.get_decoder().layers[1]
    layer.self_attn.register_forward_hook(lambda *args: calls.append(1))
    expected, found = backward(plain), backward(saving)
    assert len(calls) == 2
    assert touched(expected) == touched(found)
    for (name, first), second in zip(plain.named_parameters(), saving.parameters()):
        if first.grad is not None:
            torch.testing.assert_close(first.grad, second.grad, msg=name)
    saving.eval()
    saving.candidates(make_inputs(SHORT), 1)
    assert len(calls) == 3  # nothing is computed twice without a backward pass


def test_copies_share_what_is_not_trained(qwen):
    policy = make_policy(qwen, lora_rank=2, state_tokens=1)
    twin = copy.deepcopy(policy)
    shared = {
        name for (name, first), second in zip(policy.named_parameters(), twin.parameters()) if first is second
    }
    own = {name for name, _ in policy.named_parameters()} - shared
    assert all(name.startswith('backbone.model.') and 'lora_' not in name for name in shared)
    assert all(not n.startswith('backbone.model.') or 'lora_' in n for n in own)
    # an average is frozen whole and copied again; still only the pretrained weights are shared
    again = copy.deepcopy(twin.requires_grad_(False))
    assert sum(a is b for a, b in zip(twin.parameters(), again.parameters())) == len(shared)
    g = torch.Generator()
    torch.testing.assert_close(
        policy.candidates(make_inputs(SHORT), 1, g.manual_seed(0)),
        again.candidates(make_inputs(SHORT), 1, g.manual_seed(0)),
    )
    with torch.no_grad():
        twin.backbone.state.weight.add_(1.0)
    assert (policy.backbone.state.weight - twin.backbone.state.weight).abs().min() > 0.5


def test_unfreezing_the_backbone_leaves_pretrained_weights_frozen(qwen):
    policy = make_policy(qwen, lora_rank=2)
    policy.backbone.requires_grad_(False)
    assert not any(p.requires_grad for p in policy.backbone.parameters())
    policy.backbone.requires_grad_(True)
    assert {'lora_' in n for n, p in policy.backbone.named_parameters() if p.requires_grad} == {True}


def test_cloning_steps_train_adapters_and_expert(qwen):
    policy = make_policy(qwen, lora_rank=2, state_tokens=1).train()
    before = {name: p.detach().clone() for name, p in policy.named_parameters()}
    algorithm = WeightedFlow(policy, WeightedFlowConfig(learning_rate=1e-2, batch=2))
    data, rng = make_inputs(SHORT, LONG), np.random.default_rng(0)
    batch = Chunks(
        images={name: stack.numpy() for name, stack in data.images.items()},
        state=data.state.numpy(),
        actions=rng.normal(size=(2, 4, 7)).astype(np.float32),
        valid=np.ones((2, 4), bool),
        weight=np.ones(2, np.float32),
        text=list(data.text),
    )
    losses = [algorithm.update(batch)['loss'] for _ in range(12)]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    moved = {name for name, p in policy.named_parameters() if (p - before[name]).abs().max() > 0}
    pretrained = {n for n in before if n.startswith('backbone.model.') and 'lora_' not in n}
    assert not moved & pretrained
    assert {'backbone.state.weight', 'expert.leave.weight'} <= moved
    assert any('k_proj.lora_A' in name for name in moved)
    averaged = dict(algorithm.averaged.named_parameters())
    assert (averaged['expert.leave.weight'] - policy.expert.leave.weight).abs().max() > 0
    assert all(
        averaged[name].data_ptr() == dict(policy.named_parameters())[name].data_ptr() for name in pretrained
    )
