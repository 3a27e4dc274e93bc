# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Training of two action heads: the joint loss, its parts, and cloning with tokens that resumes."""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np
import pytest
import torch
from clone_rig import ALGORITHM, CONFIG, ROBOT, SMALL, make_episodes

from apprentice.cli import train_bc
from apprentice.learning.clone import clone, training_folder
from apprentice.learning.clone_config import read_config
from apprentice.learning.dataset import Chunks, Samples, policy_spec
from apprentice.learning.metrics_file import read_metrics
from apprentice.learning.weighted_flow import WeightedFlow
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.token_head import TokenConfig

TOKENS = TokenConfig(vocabulary=128, min_frequency=5, width=32)
JOINT = dataclasses.replace(SMALL, tokens=TOKENS)


def samples() -> Chunks:
    return Samples.of(make_episodes(), CONFIG.horizon).chunks


def make(config=JOINT, **settings) -> WeightedFlow:
    torch.manual_seed(0)
    chunks = samples()
    policy = FlowPolicy(policy_spec(make_episodes(), ROBOT, CONFIG.horizon), config).train()
    policy.fit_tokenizer(chunks.actions, chunks.state, chunks.valid)
    return WeightedFlow(policy, dataclasses.replace(ALGORITHM, **settings))


def test_both_losses_are_reported_and_fall():
    algorithm = make(learning_rate=3e-3, shift=0, light=0)
    batch = samples().select(np.arange(8))
    metrics = [algorithm.update(batch) for _ in range(40)]
    for one in metrics:
        assert one['loss'] == pytest.approx(one['token_loss'] + 10 * one['flow_loss'], rel=1e-4)
    assert metrics[-1]['token_loss'] < 0.5 * metrics[0]['token_loss']
    early, late = (np.mean([m['flow_loss'] for m in part]) for part in (metrics[:10], metrics[-10:]))
    assert late < early
    assert algorithm.averaged.candidates(batch.tensors().inputs, 1, head='fast').shape == (8, 1, 8, 7)


def test_the_weight_of_the_flow_loss_is_a_setting():
    batch = samples().select(np.arange(8))
    for weight in (1.0, 3.0):
        one = make(flow_weight=weight).update(batch)
        assert one['loss'] == pytest.approx(one['token_loss'] + weight * one['flow_loss'], rel=1e-5)


def test_without_weight_the_flow_expert_is_not_trained():
    algorithm = make(flow_weight=0.0)
    before = {name: p.detach().clone() for name, p in algorithm.policy.named_parameters()}
    metrics = algorithm.update(samples().select(np.arange(8)))
    assert metrics['loss'] == pytest.approx(metrics['token_loss'])
    after = algorithm.policy.named_parameters()
    moved = {name.split('.')[0] for name, p in after if not torch.equal(p, before[name])}
    assert moved == {'backbone', 'token_head'}


def test_samples_of_no_weight_teach_nothing():
    losses = []
    for shift in (0.0, 0.3):
        batch = samples().select(np.arange(8))
        batch.weight[4:] = 0
        batch.actions[4:] += shift
        losses.append(make(shift=0, light=0).update(batch)['token_loss'])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    batch.weight[4:] = 1
    assert make(shift=0, light=0).update(batch)['token_loss'] != pytest.approx(losses[0], rel=1e-3)


def test_parts_of_a_batch_have_the_same_joint_loss():
    batch = samples().select(np.arange(8))
    batch.weight[:] = np.linspace(0.2, 1.0, 8)
    algorithm = make(shift=0, light=0)
    draws, tensors = algorithm.draw(8), batch.tensors()
    whole = algorithm.objective(tensors, draws)
    parts = [slice(0, 3), slice(3, 8)]
    losses = [
        algorithm.objective(
            tensors.part(rows), draws.each(lambda t, rows=rows: t[rows]), tensors.weight.sum()
        )
        for rows in parts
    ]
    for name, value in whole.items():
        torch.testing.assert_close(sum(one[name] for one in losses), value, atol=1e-5, rtol=1e-4)


def test_a_policy_without_tokens_has_one_loss():
    assert set(make(SMALL).update(samples().select(np.arange(8)))) == {'loss', 'gradient_norm', 'skipped'}


class Killed(Exception):
    pass


def test_cloning_fits_the_tokens_and_resumes_to_the_bit(tmp_path):
    config = dataclasses.replace(CONFIG, policy=JOINT, validation=0.3, validate_every=3)

    def kill(step: int, metrics: dict[str, float]) -> None:
        if step == 5:
            raise Killed

    clone(make_episodes(), ROBOT, tmp_path / 'whole', config)
    with pytest.raises(Killed):
        clone(make_episodes(), ROBOT, tmp_path / 'torn', config, kill)
    clone(make_episodes(), ROBOT, tmp_path / 'torn', config)
    whole, torn = (
        read_metrics(training_folder(tmp_path / name) / 'metrics.jsonl') for name in ('whole', 'torn')
    )
    assert [m['token_loss'] for m in torn] == [m['token_loss'] for m in whole]
    assert {'validation_token_loss', 'validation_flow_loss'} <= set(whole[-1])
    first, second = (checkpoint.load(tmp_path / name)[0] for name in ('whole', 'torn'))
    assert first.token_head.tokenizer.size > first.token_head.tokenizer.alphabet  # something was learned
    inputs = samples().select(np.arange(3)).tensors().inputs
    for head in ('flow', 'fast'):
        acts = [p.candidates(inputs, 1, torch.Generator().manual_seed(0), head=head) for p in (first, second)]
        torch.testing.assert_close(*acts, rtol=0, atol=0)


@pytest.mark.parametrize(
    ('words', 'tokens', 'head', 'flow_weight'),
    [
        ([], False, 'flow', 10.0),
        (['--heads', 'flow'], False, 'flow', 10.0),
        (['--heads', 'joint'], True, 'flow', 10.0),
        (['--heads', 'fast'], True, 'fast', 0.0),
        (['policy.tokens.width=64', 'policy.head=fast'], True, 'fast', 10.0),
    ],
)
def test_the_heads_are_chosen_on_the_command_line(words, tokens, head, flow_weight):
    parser = argparse.ArgumentParser()
    train_bc.add_arguments(parser)
    args = parser.parse_args(words)
    config = read_config(args.words, args.config, train_bc._flags(args))
    assert (config.policy.tokens is not None) == tokens
    assert config.policy.head == head
    assert config.algorithm.flow_weight == flow_weight
