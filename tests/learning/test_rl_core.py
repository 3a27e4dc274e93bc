# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The core of the off-policy algorithms: targets by hand, members one by one, steps that are not finite."""

from __future__ import annotations

import pytest
import torch
from small_problems import BANDIT, bandit
from torch import nn
from torch.nn import functional

from apprentice.learning.rl.base import Sizes, make
from apprentice.learning.rl.core import CriticConfig, Critics, backup
from apprentice.learning.rl.flow_edit import FlowEdit, FlowEditConfig
from apprentice.learning.rl.networks import Ensemble, perceptron, single

ALGORITHMS = [
    ('q_chunking:QChunking', {}),
    ('flow_edit:FlowEdit', {'warm_up': 0, 'edit_every': 1}),
    ('rlpd_sac:RlpdSac', {'gripper': [0]}),
    ('dsrl:Dsrl', {}),
]
SMALL = {'critic': {'members': 3, 'hidden': [16, 16]}}


def made(part: str, settings: dict, seed: int = 0):
    return make(f'apprentice.learning.rl.{part}', BANDIT, {**SMALL, **settings}, seed)


def critics(**settings) -> Critics:
    config = CriticConfig(**{'members': 3, 'subset': 3, 'hidden': (8,), **settings})
    return Critics(BANDIT, config, torch.Generator().manual_seed(0))


def test_the_backup_by_hand():
    """Two rows valid at gamma 0.9; a time-out is bootstrapped; after a terminal nothing is looked at."""
    reward, discount = torch.tensor([0.1, 0.1, 1.0]), torch.tensor([0.81, 0.9, 0.0])
    following = torch.tensor([0.5, 2.0, float('nan')])
    expected = [0.1 + 0.81 * 0.5, 0.1 + 0.9 * 2.0, 1.0]
    assert backup(reward, discount, following).tolist() == pytest.approx(expected)


@pytest.mark.parametrize('layer_norm', [True, False])
@pytest.mark.parametrize('together', [True, False])
@pytest.mark.parametrize('count', [1, 5])
def test_members_are_perceptrons(layer_norm, together, count):
    g = torch.Generator().manual_seed(0)
    ensemble = Ensemble(3, 4, 6, (8, 5), layer_norm=layer_norm, act='tanh', generator=g)
    for shift in ensemble.shifts:
        nn.init.normal_(shift, generator=g)
    feature, action = torch.randn(7, 4, generator=g), torch.randn(7, count, 6, generator=g)
    ensemble.together = together
    values = ensemble(feature, action)
    assert values.shape == (3, 7, count)
    for i in range(3):
        x = torch.cat([feature[:, None].expand(-1, count, -1), action], -1)
        x = x @ ensemble.first[i] + ensemble.first_bias[i]
        for layer in range(2):
            if layer_norm:
                x = functional.layer_norm(
                    x, x.shape[-1:], ensemble.scales[layer][i, 0], ensemble.shifts[layer][i, 0]
                )
            x = torch.tanh(x) @ ensemble.weights[layer][i] + ensemble.biases[layer][i]
        assert torch.allclose(values[i], x[..., 0], atol=1e-5)
    some = ensemble(feature, action, torch.tensor([2, 0]))
    assert torch.allclose(some, values[[2, 0]], atol=1e-6)


@pytest.mark.parametrize('together', [True, False])
@pytest.mark.parametrize('layer_norm', [True, False])
def test_hidden_products_in_half_the_bits(layer_norm, together):
    g = torch.Generator().manual_seed(0)
    ensemble = Ensemble(3, 8, 6, (64, 64, 64), layer_norm=layer_norm, generator=g)
    ensemble.together = together
    feature, action = torch.randn(50, 8, generator=g), torch.randn(50, 4, 6, generator=g)
    exact = ensemble(feature, action)
    ensemble.precision = torch.bfloat16
    rounded = ensemble(feature, action)
    assert rounded.dtype == torch.float32
    off = float((rounded - exact).detach().abs().max() / exact.detach().std())
    assert 1e-4 < off < 0.05
    rounded.sum().backward()
    assert all(each.grad is not None and each.grad.dtype == torch.float32 for each in ensemble.parameters())


def test_the_precision_is_that_of_all_networks():
    with pytest.raises(ValueError, match=r"precision is 'half'; use one of \['float32', 'bfloat16'\]"):
        CriticConfig(precision='half')
    algorithm = FlowEdit(BANDIT, FlowEditConfig(CriticConfig(precision='bfloat16')))
    networks = (algorithm.critics.online, algorithm.critics.target, algorithm.editor)
    assert {network.precision for network in networks} == {torch.bfloat16}
    assert {tensor.dtype for n, tensor in algorithm.state_dict().items() if 'module' in n} == {torch.float32}


def test_a_perceptron_has_outputs():
    g = torch.Generator().manual_seed(0)
    assert single(perceptron(4, (8,), 3, generator=g), torch.randn(7, 4)).shape == (7, 3)
    assert single(perceptron(4, (8,), 1, generator=g), torch.randn(7, 4)).shape == (7, 1)


def test_the_smallest_of_a_random_subset():
    values = torch.tensor([1.0, 2.0, 3.0])[:, None]
    drawn = critics(subset=2)
    found = [float(drawn.smallest(values)) for _ in range(300)]
    # of the three pairs two hold the smallest
    assert set(found) == {1.0, 2.0}
    assert 0.55 < found.count(1.0) / 300 < 0.78


def test_the_target_takes_the_smallest_value_of_the_chunk_that_the_mean_likes_best():
    three = critics()
    for parameter in three.target.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    batch = bandit(5, torch.Generator().manual_seed(0))
    values = three.target_values(batch.feature, batch.candidates)
    expected = []
    for b in range(5):
        means = [float(values[:, b, n].mean()) for n in range(6)]
        expected.append(float(values[:, b, means.index(max(means))].min()))
    assert three.best_of(batch.feature, batch.candidates).tolist() == pytest.approx(expected)
    judged = critics(subset=2, judges=2).best_of(batch.feature, batch.candidates)
    assert judged.shape == (5,)


def test_targets_follow_by_their_share():
    one = critics(polyak=0.25)
    before = [p.clone() for p in one.target.parameters()]
    one.fit(bandit(16, torch.Generator().manual_seed(0)), torch.zeros(16))
    for old, target, online in zip(before, one.target.parameters(), one.online.parameters(), strict=True):
        assert torch.allclose(target, old + 0.25 * (online - old), atol=1e-6)
    assert not torch.equal(before[0], next(one.target.parameters()))


def test_targets_are_cut_to_the_values_there_can_be():
    batch = bandit(16, torch.Generator().manual_seed(0))
    batch.discount = torch.ones(16)
    free, cut = critics(), critics(value_range=(-1.0, 2.0))
    losses = [c.fit(batch, torch.full((16,), 1e3))['critic_loss'] for c in (free, cut)]
    assert losses[0] > 1e5
    assert losses[1] < 10


@pytest.mark.parametrize(('part', 'settings'), ALGORITHMS)
def test_a_step_that_is_not_finite_changes_nothing(part, settings):
    algorithm = made(part, settings)
    batch = bandit(16, torch.Generator().manual_seed(0))
    algorithm.update(batch)
    before = algorithm.state_dict()
    batch.reward[3] = float('nan')
    batch.feature[3] = float('nan')
    metrics = algorithm.update(batch)
    assert metrics['skipped'] == 1.0
    after = algorithm.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith(('module.', 'optimizer.')))


@pytest.mark.parametrize(('part', 'settings'), ALGORITHMS)
def test_what_was_stored_goes_on_in_the_same_way(part, settings):
    g = torch.Generator().manual_seed(0)
    algorithm, batches = made(part, settings), [bandit(16, g) for _ in range(6)]
    for batch in batches[:3]:
        algorithm.update(batch)
    other = made(part, settings, seed=7)
    other.load_state_dict(algorithm.state_dict())
    assert other.steps == 3
    for batch in batches[3:]:
        assert algorithm.update(batch) == other.update(batch)
    seen = (batches[0].feature, batches[0].candidates)
    explored = [
        a.choose(*seen, explore=True, generator=torch.Generator().manual_seed(1)) for a in (algorithm, other)
    ]
    assert torch.equal(*explored)
    assert not torch.equal(made(part, settings, seed=7).choose(*seen), algorithm.choose(*seen))


def test_the_state_of_another_algorithm_is_refused():
    first, other = made('q_chunking:QChunking', {}), made('rlpd_sac:RlpdSac', {})
    before = first.state_dict()
    with pytest.raises(ValueError, match='another algorithm or other sizes'):
        first.load_state_dict(other.state_dict())
    assert all(torch.equal(before[k], v) for k, v in first.state_dict().items())


def test_parts_and_batches_are_checked():
    with pytest.raises(ValueError, match="has no \\['no_such'\\]"):
        made('q_chunking:QChunking', {'no_such': 1})
    with pytest.raises(ValueError, match='no dataclass Config'):
        make('apprentice.learning.rl.base:Sizes', BANDIT)
    with pytest.raises(ValueError, match='subset is 4'):
        CriticConfig(members=3, subset=4)
    batch = bandit(4, torch.Generator().manual_seed(0))
    batch.check(BANDIT)
    with pytest.raises(ValueError, match='action is torch'):
        batch.check(Sizes(2, 3, 1))
    assert len(batch.each(lambda tensor: tensor[:2])) == 2
