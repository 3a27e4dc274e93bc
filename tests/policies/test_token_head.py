# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The action-token head beside the flow expert: likelihood, sampling, gradients, files."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from apprentice.policies import checkpoint
from apprentice.policies.backbones.tiny import TinyConfig
from apprentice.policies.checkpoint import CheckpointError
from apprentice.policies.config import PolicyConfig
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Inputs, Prefix
from apprentice.policies.rtc import PreviousChunk, RtcConfig
from apprentice.policies.spec import PolicySpec
from apprentice.policies.token_head import Context, TokenConfig, TokenHead
from apprentice.robot.normalize import Statistics
from apprentice.robot.parts import share

HORIZON, DIM = 4, 3
JOINTS = ('a', 'b', 'gripper')
TOKENS = TokenConfig(vocabulary=200, min_frequency=5, width=32)
CONFIG = PolicyConfig(backbone=TinyConfig(width=32, layers=2, heads=2, channels=(8, 8, 16)), tokens=TOKENS)
RNG = np.random.default_rng(0)
STATE = RNG.normal(0.3, 0.5, (200, DIM)).astype(np.float32)
ACTIONS = (
    STATE[:, None] * [1, 1, 0] + RNG.normal(0.05, 0.2, (200, 1, DIM)) * np.arange(1, HORIZON + 1)[:, None]
).astype(np.float32)
VALID = np.ones((200, HORIZON), bool)


def make_policy(config: PolicyConfig = CONFIG) -> FlowPolicy:
    torch.manual_seed(0)
    offsets = (ACTIONS - STATE[:, None] * [1, 1, 0]).reshape(-1, DIM)
    spec = PolicySpec(
        robot='r',
        joints=JOINTS,
        relative=(True, True, False),
        cameras={'front': (32, 32)},
        horizon=HORIZON,
        action_dt=0.1,
        state=Statistics.of(STATE, JOINTS, 'state'),
        action=Statistics.of(offsets, JOINTS, 'action'),
    )
    policy = FlowPolicy(spec, config).eval()
    policy.fit_tokenizer(ACTIONS, STATE, VALID)
    return policy


@pytest.fixture
def policy() -> FlowPolicy:
    return make_policy()


def inputs(batch: int = 3) -> Inputs:
    g = torch.Generator().manual_seed(1)
    images = {'front': torch.randint(0, 255, (batch, 32, 32, 3), dtype=torch.uint8, generator=g)}
    return Inputs(images, torch.from_numpy(STATE[:batch]), ['pick', 'pick up', 'put it down'][:batch])


def batch_of(policy: FlowPolicy, rows: slice = slice(0, 3)) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and what counts, of some chunks."""
    offset = STATE[rows, None] * [1, 1, 0]
    return policy.token_head.pad(policy.token_head.tokenizer.encode(ACTIONS[rows] - offset))


def random_prefix(layers: int, batch: int, heads: int, length: int, head_dim: int) -> Prefix:
    g = torch.Generator().manual_seed(3)
    keys, values = torch.randn(2, layers, batch, heads, length, head_dim, generator=g)
    mask = torch.ones(batch, length, dtype=torch.bool)
    mask[0, length // 2 :] = False
    return Prefix(keys, values, mask, torch.zeros(batch, 1))


def test_padding_does_not_change_the_loss(policy):
    prefix = policy.encode(inputs())
    tokens, valid = batch_of(policy)
    counts = valid.sum(1)
    assert len(set(counts.tolist())) > 1  # sequences of different lengths
    together = policy.token_head.loss(prefix, tokens, valid)
    for i in range(3):
        one = policy.encode(
            Inputs(
                {'front': inputs().images['front'][i : i + 1]}, inputs().state[i : i + 1], [inputs().text[i]]
            )
        )
        alone = policy.token_head.loss(one, tokens[i : i + 1, : counts[i]], valid[i : i + 1, : counts[i]])
        torch.testing.assert_close(alone[0], together[i], atol=1e-5, rtol=1e-4)


def test_loss_is_the_mean_negative_log_likelihood_including_the_end(policy):
    head, prefix = policy.token_head, policy.encode(inputs(1))
    tokens, valid = batch_of(policy, slice(0, 1))
    assert tokens[0, -1] == head.end
    total, history = 0.0, [head.end]
    for token in tokens[0].tolist():
        logits = head(torch.tensor([history]), Context(prefix, head.reads))[0, -1]
        total -= float(logits.log_softmax(-1)[token].detach())
        history.append(token)
    assert float(head.loss(prefix, tokens, valid).detach()) == pytest.approx(
        total / tokens.shape[1], rel=1e-4
    )


@pytest.mark.parametrize(('heads', 'theta'), [(0, 0.0), (4, 0.0), (4, 1e4)])
def test_cached_logits_are_those_of_the_whole_sequence(heads, theta):
    torch.manual_seed(0)
    head = TokenHead(
        DIM, HORIZON, (4, 2, 16), dataclasses.replace(TOKENS, heads=heads, rope_theta=theta)
    ).eval()
    prefix = random_prefix(4, 2, 2, 10, 16)
    tokens = torch.randint(0, head.end, (2, 9), generator=torch.Generator().manual_seed(0))
    whole = head(tokens, Context(prefix, head.reads))
    context = Context(prefix, head.reads)
    steps = torch.cat([head(tokens[:, i : i + 1], context) for i in range(9)], 1)
    torch.testing.assert_close(steps, whole, atol=1e-5, rtol=1e-4)
    # it reads layers 0 and 2 of 4, the masked tokens of the prefix not at all
    assert head.reads == [0, 2]
    prefix.keys[:, 0, :, 5:] += 1.0
    torch.testing.assert_close(head(tokens, Context(prefix, head.reads)), whole)
    prefix.keys[2] += 1.0
    assert (head(tokens, Context(prefix, head.reads)) - whole).abs().max() > 1e-3


def test_greedy_sampling_takes_the_likeliest_token_each_time(policy):
    head, prefix = policy.token_head, policy.encode(inputs())
    torch.nn.init.normal_(head.leave.weight, std=1.0)
    sampled = head.sample(prefix)
    for row in range(3):
        history = [head.end]
        for token in sampled[row].tolist():
            alone = Prefix(
                prefix.keys[:, row : row + 1],
                prefix.values[:, row : row + 1],
                prefix.mask[row : row + 1],
                prefix.pooled[row : row + 1],
            )
            expected = int(head(torch.tensor([history]), Context(alone, head.reads))[0, -1].argmax())
            assert token == expected
            if token == head.end:
                break
            history.append(token)


def test_sampling_stops_at_the_end_and_follows_the_softmax(policy):
    head = policy.token_head
    prefix = policy.encode(inputs(1)).repeat(1500)
    with torch.no_grad():
        head.leave.weight.zero_()
        head.leave.bias.fill_(-1e4)
        head.leave.bias[[3, 5, head.end]] = torch.log(torch.tensor([0.6, 0.1, 0.3]))
    first = head.sample(prefix, torch.Generator().manual_seed(0), 1.0)[:, 0]
    share = [float((first == token).float().mean()) for token in (3, 5, head.end)]
    np.testing.assert_allclose(share, [0.6, 0.1, 0.3], atol=0.05)
    cold = head.sample(prefix, torch.Generator().manual_seed(0), 0.5)[:, 0]
    squares = np.square([0.6, 0.1, 0.3])
    assert float((cold == 3).float().mean()) == pytest.approx(squares[0] / squares.sum(), abs=0.05)
    tokens = head.sample(prefix, torch.Generator().manual_seed(1), 1.0)
    ended = (tokens == head.end).int().cummax(1).values.bool()
    assert torch.all(tokens[ended] == head.end)  # nothing follows an end
    assert ended[:, -1].float().mean() > 0.9
    assert tokens.shape[1] <= HORIZON * DIM


def test_every_sampled_chunk_decodes_though_the_model_knows_nothing(policy):
    head, prefix = policy.token_head, policy.encode(inputs(1)).repeat(64)
    torch.nn.init.normal_(head.leave.weight, std=1.0)
    free = head.sample(prefix, torch.Generator().manual_seed(0), 1.0)

    def decodes(row):
        try:
            head.tokenizer.decode([t for t in row if t != head.end])
        except ValueError:
            return False
        return True

    assert not all(decodes(row) for row in free.tolist())  # left alone, it writes what is no chunk
    chunks = head.chunks(prefix, torch.Generator().manual_seed(0), 1.0)
    assert chunks.shape == (64, HORIZON, DIM)
    assert torch.isfinite(chunks).all()
    assert len(torch.unique(chunks, dim=0)) > 32


def test_overfits_two_samples_and_both_heads_act(policy):
    torch.manual_seed(0)
    policy.train()
    data = inputs(2)
    data.images['front'] = data.images['front'][:1].repeat(2, 1, 1, 1)
    data.state = data.state[:1].repeat(2, 1)  # only the instruction differs
    goal = policy.normalize_actions(torch.from_numpy(ACTIONS[:2]), torch.from_numpy(STATE[:2]))
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)
    for _ in range(120):
        loss = policy.token_loss(policy.encode(data), goal).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.05
    policy.eval()
    out = policy.candidates(data, 1, head='fast')[:, 0]
    found = policy.normalize_actions(out, data.state)
    # as good as the tokens can say it: half a step of a coefficient, in units of half the range
    allowed = 0.5 / TOKENS.scale * np.sqrt(HORIZON) * 0.5 * (policy.spec.action.high - policy.spec.action.low)
    error = (found - goal).abs().numpy().max((0, 1)) * policy.spec.action.std
    assert np.all(error <= allowed * 1.01 + 1e-6)
    assert (goal[0] - goal[1]).abs().max() > 1.0
    assert policy.candidates(data, 2, torch.Generator().manual_seed(0)).shape == (2, 2, HORIZON, DIM)


def test_rows_that_do_not_count_lower_the_weight_and_are_not_read(policy):
    prefix = policy.encode(inputs())
    actions = torch.from_numpy(RNG.normal(size=(3, HORIZON, DIM)).astype(np.float32))
    valid = torch.tensor([[True] * 4, [True, True, False, False], [True] * 4])
    loss = policy.token_loss(prefix, actions, valid)
    changed = actions.clone()
    changed[1, 2:] = 7.0
    torch.testing.assert_close(policy.token_loss(prefix, changed, valid), loss)
    changed[1, 2:] = changed[1, 1]
    torch.testing.assert_close(policy.token_loss(prefix, changed)[1] * 0.5, loss[1])
    torch.testing.assert_close(policy.token_loss(prefix, actions)[[0, 2]], loss[[0, 2]])


def test_candidates_draw_apart_and_refuse_what_they_cannot(policy):
    torch.nn.init.normal_(policy.token_head.leave.weight, std=0.5)

    def generators(*seeds):
        return [torch.Generator().manual_seed(s) for s in seeds]

    both = policy.candidates(inputs(2), 3, generators(1, 2), head='fast', temperature=1.0)
    assert both.shape == (2, 3, HORIZON, DIM)
    assert (both[0, 0] - both[0, 1]).abs().max() > 1e-3
    alone = policy.candidates(
        Inputs({'front': inputs().images['front'][1:2]}, inputs().state[1:2], ['pick up']), 3, generators(2),
        head='fast', temperature=1.0,
    )  # fmt: skip
    torch.testing.assert_close(alone[0], both[1], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match='all the same'):
        policy.candidates(inputs(2), 3, head='fast')
    with pytest.raises(ValueError, match='no head'):
        policy.candidates(inputs(2), 1, head='slow')
    previous = PreviousChunk(np.zeros((4, DIM)), 1)
    with pytest.raises(ValueError, match='cannot continue'):
        policy.candidates(inputs(2), 1, head='fast', previous=previous)
    policy.candidates(inputs(2), 1, head='fast', previous=previous, rtc=RtcConfig('none'))
    with torch.no_grad():
        policy.token_head.leave.bias[0] = float('nan')
    with pytest.raises(ValueError, match='damaged'):
        policy.candidates(inputs(2), 1, head='fast')
    plain = make_policy(dataclasses.replace(CONFIG, tokens=None))
    with pytest.raises(ValueError, match='no token head'):
        plain.candidates(inputs(2), 1, head='fast')
    with pytest.raises(ValueError, match='no token head'):
        plain.token_loss(plain.encode(inputs()), torch.zeros(3, HORIZON, DIM))
    with pytest.raises(ValueError, match='not fitted'):
        FlowPolicy(policy.spec, CONFIG).candidates(inputs(2), 1, head='fast')
    with pytest.raises(ValueError, match='fast'):
        PolicyConfig(head='fast')


@pytest.mark.parametrize('insulate', [False, True])
def test_what_trains_the_backbone(insulate):
    policy = make_policy(dataclasses.replace(CONFIG, insulate=insulate))
    for block in policy.expert.blocks:  # adaLN-zero: at first no block adds anything
        torch.nn.init.normal_(block.modulation.weight, std=0.1)
    goal = policy.normalize_actions(torch.from_numpy(ACTIONS[:3]), torch.from_numpy(STATE[:3]))

    def gradients():
        found = {
            name: max(
                (float(p.grad.abs().max()) for p in part.parameters() if p.grad is not None), default=0.0
            )
            for name, part in policy.named_children()
        }
        policy.zero_grad(set_to_none=True)
        return found

    time = torch.full((3, HORIZON), 0.5)
    policy.flow_loss(policy.encode(inputs()), goal, torch.randn(goal.shape), time).sum().backward()
    by_flow = gradients()
    assert by_flow['expert'] > 0
    assert by_flow['token_head'] == 0
    assert (by_flow['backbone'] > 0) == (not insulate)
    policy.token_loss(policy.encode(inputs()), goal).sum().backward()
    by_tokens = gradients()
    assert by_tokens['expert'] == 0
    assert by_tokens['token_head'] > 0
    assert by_tokens['backbone'] > 0


def test_checkpoint_round_trip_with_both_heads(policy, tmp_path):
    torch.nn.init.normal_(policy.token_head.leave.weight, std=0.5)
    digest = checkpoint.save(policy, tmp_path / 'p')
    loaded, _ = checkpoint.load(tmp_path / 'p', digest)
    assert loaded.config == policy.config
    for head in ('flow', 'fast'):
        torch.testing.assert_close(
            loaded.candidates(inputs(), 2, torch.Generator().manual_seed(0), head=head, temperature=1.0),
            policy.candidates(inputs(), 2, torch.Generator().manual_seed(0), head=head, temperature=1.0),
        )
    path = tmp_path / 'p' / checkpoint.MANIFEST
    manifest = json.loads(path.read_text())
    for damage in (
        {},
        {**manifest['tokenizer'], 'horizon': 5},
        {**manifest['tokenizer'], 'merges': ['9999 0']},
    ):
        path.write_text(json.dumps({**manifest, 'tokenizer': damage}))
        with pytest.raises(CheckpointError, match='damaged'):
            checkpoint.load(tmp_path / 'p')
    with pytest.raises(ValueError, match='not fitted'):
        checkpoint.save(FlowPolicy(policy.spec, CONFIG), tmp_path / 'q')
    assert not (tmp_path / 'q').exists()


def test_the_head_of_the_configuration_acts(policy, tmp_path):
    fast = FlowPolicy(policy.spec, dataclasses.replace(CONFIG, head='fast')).eval()
    fast.load_state_dict(policy.state_dict())
    fast.fit_tokenizer(ACTIONS, STATE, VALID)
    checkpoint.save(fast, tmp_path / 'p')
    loaded, _ = checkpoint.load(tmp_path / 'p')
    torch.testing.assert_close(loaded.candidates(inputs(), 1), policy.candidates(inputs(), 1, head='fast'))


def test_policies_without_the_head_are_what_they_were(policy, tmp_path):
    plain = make_policy(dataclasses.replace(CONFIG, tokens=None))
    assert plain.token_head is None
    # the head is made last: the same seed gives the same other weights
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(value, policy.state_dict()[name], rtol=0, atol=0)
    checkpoint.save(plain, tmp_path / 'p')
    manifest = json.loads((tmp_path / 'p' / checkpoint.MANIFEST).read_text())
    assert 'tokenizer' not in manifest
    assert not {'tokens', 'head'} & set(manifest['config'])
    starter, manifest = checkpoint.load(share('weights', 'policy'))
    assert starter.token_head is None
    assert 'tokens' not in manifest['config']
