# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""DPO on both heads: the gradient by hand, shared noise, a frozen reference, answers that are known."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from preference_rig import JOINT, gradients, make_pairs, make_policy, moved, quiet

from apprentice.learning.preference.dpo import DpoConfig
from apprentice.learning.preference.flow_dpo import FlowDpo
from apprentice.learning.preference.token_dpo import TokenDpo
from apprentice.policies.flow import flow_loss
from apprentice.policies.prefix import Inputs
from apprentice.robot.settings import SettingsError


def test_the_gradient_is_that_of_the_equation():
    config = quiet(beta=30.0, anchor=0.1, draws=1, clip=1e9, learning_rate=0.0)
    dpo, pairs = FlowDpo(make_policy(), config, seed=3), make_pairs().select([0, 4])
    moved(dpo.policy)
    dpo.step(pairs)
    found = gradients(dpo.policy)
    # by hand: -sigmoid(-z) * dz / N + anchor * dE(winner) / N,  z = -beta [(Ew - Ew_ref) - (El - El_ref)]
    drawn = FlowDpo(make_policy(), config, seed=3).draw(2)
    policy, expected = dpo.policy, torch.zeros_like(found)
    for i in range(2):
        one = pairs.select([i])
        state = torch.from_numpy(one.state)
        images = {name: torch.from_numpy(stack) for name, stack in one.images.items()}
        inputs = Inputs(images, state, one.text)
        noise, time = drawn.noise[i], drawn.time[i].expand(1, 8)

        def error(model, chunk, inputs=inputs, noise=noise, time=time, one=one, state=state):
            actions = model.normalize_actions(torch.from_numpy(chunk), state)
            prefix = model.encode(inputs)
            return flow_loss(model.expert, prefix, actions, noise, time, torch.from_numpy(one.valid))

        with torch.no_grad():
            still = error(dpo.reference, one.winner) - error(dpo.reference, one.loser)
        parts = []
        for chunk in (one.winner, one.loser):
            policy.zero_grad(set_to_none=True)
            value = error(policy, chunk)
            value.sum().backward()
            parts.append((value.item(), gradients(policy)))
        (ew, gw), (el, gl) = parts
        z = -30.0 * ((ew - el) - float(still))
        expected += (1 / (1 + math.exp(z)) * 30.0 * (gw - gl) + 0.1 * gw) / 2
    assert found.abs().max() > 1e-3
    assert (found - expected).norm() < 1e-4 * found.norm()


@pytest.mark.parametrize('make', [FlowDpo, TokenDpo])
def test_the_gradient_is_zero_where_winner_and_loser_are_the_same(make):
    pairs = make_pairs()
    pairs = dataclasses.replace(pairs, loser=pairs.winner)
    dpo = make(make_policy(JOINT), quiet(anchor=0.0, learning_rate=0.0, clip=1e9))
    moved(dpo.policy)
    nothing = dpo.step(pairs)['gradient_norm']
    different = make(make_policy(JOINT), quiet(anchor=0.0, learning_rate=0.0, clip=1e9))
    moved(different.policy)
    # sums over tokens cancel to rounding only
    assert nothing < 1e-5 * different.step(make_pairs())['gradient_norm']


@pytest.mark.parametrize('make', [FlowDpo, TokenDpo])
def test_the_loss_begins_at_log_two(make):
    metrics = make(make_policy(JOINT), quiet()).step(make_pairs())
    assert metrics['dpo_loss'] == pytest.approx(math.log(2), abs=1e-5)
    assert metrics['drift'] == pytest.approx(0, abs=1e-9)
    assert metrics['loss'] == pytest.approx(metrics['dpo_loss'] + 0.1 * metrics['anchor_loss'], rel=1e-5)


@pytest.mark.parametrize('make', [FlowDpo, TokenDpo])
def test_the_complete_reference_never_moves(make):
    dpo = make(make_policy(JOINT), quiet(beta=5.0))
    before = dpo.reference_sha256()
    old = next(iter(dpo.policy.backbone.parameters())).detach().clone()
    names = {name for name, _ in dpo.reference.named_parameters()}
    assert names == {name for name, _ in dpo.policy.named_parameters()}
    for _ in range(5):
        dpo.step(make_pairs())
    assert dpo.reference_sha256() == before
    assert not torch.equal(next(iter(dpo.policy.backbone.parameters())), old)
    # what is trained is in memory apart
    trained = {p.data_ptr() for p in dpo.policy.parameters() if p.requires_grad}
    assert not trained & {p.data_ptr() for p in dpo.reference.parameters()}
    # the hash sees every weight
    with torch.no_grad():
        next(iter(dpo.reference.backbone.parameters())).view(-1)[0].add_(1e-3)
    assert dpo.reference_sha256() != before


def close_pairs(size: float, seed: int):
    """Pairs that differ by ``size`` standard deviations, in a direction all have in common."""
    pairs, rng = make_pairs(6, 4), np.random.default_rng(seed)
    scale = make_policy().spec.action.std.astype(np.float32)
    away = np.float32(size) * scale * np.sign(rng.normal(size=(8, 7))).astype(np.float32)
    return dataclasses.replace(pairs, loser=pairs.winner + away)


def test_shared_noise_gives_a_clearer_gradient_and_more_right_pairs():
    pairs, accuracy, clarity = close_pairs(0.2, 0), {}, {}
    for share in (True, False):
        right = []
        for seed in range(2):
            config = quiet(beta=50.0, anchor=0.0, draws=1, share_noise=share, learning_rate=3e-4)
            dpo, rng = FlowDpo(make_policy(), config, seed), np.random.default_rng(seed)
            for _ in range(12):
                dpo.step(pairs.select(rng.integers(0, len(pairs), 8)))
            # judged alike: shared noise, many draws
            judged = FlowDpo(make_policy(), quiet(draws=16), 0)
            judged.averaged.load_state_dict(dpo.policy.state_dict())
            right.append(judged.measure(pairs)['accuracy'])
        accuracy[share] = float(np.mean(right))
        dpo = FlowDpo(make_policy(), quiet(beta=50.0, anchor=0.0, draws=1, share_noise=share, clip=1e9))
        dpo.config = dataclasses.replace(dpo.config, learning_rate=0.0)
        drawn, few = [], pairs.select(range(8))
        for _ in range(8):
            dpo.step(few)
            drawn.append(gradients(dpo.policy))
        drawn = torch.stack(drawn)
        clarity[share] = float(drawn.mean(0).norm() / drawn.std(0).norm())
    assert clarity[True] > 1.5 * clarity[False], clarity
    assert accuracy[True] > accuracy[False] + 0.02, accuracy


@pytest.mark.parametrize(('make', 'beta', 'rate'), [(FlowDpo, 20.0, 2e-4), (TokenDpo, 0.5, 1e-3)])
def test_a_bandit_with_a_known_answer(make, beta, rate):
    """Of a hundred judges twenty prefer the other arm: the margin that is optimal is log(80 / 20)."""
    pairs = make_pairs(1, 1)
    config = quiet(beta=beta, anchor=0.0, draws=8, learning_rate=rate, label_noise=0.2)
    dpo = make(make_policy(JOINT), config)
    for i in range(60):
        dpo.generator.manual_seed(0)  # the same draws each time: there is one answer, and it is exact
        margin = dpo.step(pairs, rate=1 - i / 60)['margin']
    assert margin == pytest.approx(math.log(4), abs=0.05)


def test_what_is_sampled_comes_nearer_to_the_winner():
    pairs = make_pairs(1, 1)
    dpo = FlowDpo(make_policy(), quiet(beta=2.0, draws=8))
    one = pairs.select([0])
    inputs = Inputs(
        {n: torch.from_numpy(s) for n, s in one.images.items()}, torch.from_numpy(one.state), one.text
    )
    rows, scale = one.valid[0], dpo.policy.spec.action.std

    def apart(policy, chunk):
        drawn = policy.candidates(inputs, 16, torch.Generator().manual_seed(0))[0].numpy()
        return float((np.abs(drawn - chunk) / scale)[:, rows].mean())

    before = apart(dpo.policy, one.winner[0]) - apart(dpo.policy, one.loser[0])
    for _ in range(20):
        dpo.step(pairs)
    assert apart(dpo.policy, one.winner[0]) - apart(dpo.policy, one.loser[0]) < before - 0.05


def test_the_anchor_keeps_the_winner_likely():
    gains = {}
    for anchor in (0.0, 5.0):
        dpo = FlowDpo(make_policy(), quiet(beta=50.0, anchor=anchor))
        for _ in range(10):
            dpo.step(make_pairs(2))
        gains[anchor] = dpo.measure(make_pairs())['winner_gain']
    assert gains[5.0] > gains[0.0] + 0.01, gains


def test_rows_that_do_not_count_do_not_matter():
    pairs = make_pairs()
    other = pairs.winner.copy()
    other[~pairs.valid] += 3.0
    found = [
        FlowDpo(make_policy(), quiet(), 0).step(p) for p in (pairs, dataclasses.replace(pairs, winner=other))
    ]
    assert found[0]['anchor_loss'] == pytest.approx(found[1]['anchor_loss'], rel=0.2)
    only = dataclasses.replace(pairs, valid=np.ones_like(pairs.valid))
    assert FlowDpo(make_policy(), quiet(), 0).step(only)['anchor_loss'] != found[0]['anchor_loss']


def test_a_step_that_is_not_finite_is_skipped():
    dpo = FlowDpo(make_policy(), quiet())
    before = {name: value.clone() for name, value in dpo.policy.state_dict().items()}
    pairs = make_pairs()
    bad = dataclasses.replace(pairs, winner=np.full_like(pairs.winner, np.inf))
    assert dpo.step(bad)['skipped'] == 1.0
    for name, value in dpo.policy.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    'wrong', [{'beta': 0.0}, {'anchor': -1.0}, {'draws': 0}, {'label_noise': 0.5}, {'beta': float('nan')}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(SettingsError):
        DpoConfig(**wrong)
