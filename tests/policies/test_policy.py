# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The flow policy: shapes, units, language, gradients, checkpoints."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from apprentice.policies import checkpoint, flow
from apprentice.policies.backbones.tiny import TinyConfig
from apprentice.policies.checkpoint import CheckpointError
from apprentice.policies.config import PolicyConfig
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Inputs
from apprentice.policies.spec import PolicyMismatch, PolicySpec
from apprentice.robot.normalize import Statistics, StatisticsError
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Observation

ROBOT = RobotSpec.load(share('robots', 'sim_arm.yaml'))


def make_spec() -> PolicySpec:
    rng = np.random.default_rng(0)
    state = rng.normal(0.3, 0.5, (200, 7))
    action = rng.normal(0.05, 0.2, (200, 7))
    return PolicySpec(
        robot='sim_arm',
        joints=ROBOT.joint_names,
        relative=(True,) * 6 + (False,),
        cameras={'front': (64, 64), 'wrist': (64, 64)},
        horizon=8,
        action_dt=0.1,
        state=Statistics.of(state, ROBOT.joint_names, 'state'),
        action=Statistics.of(action, ROBOT.joint_names, 'action'),
    )


@pytest.fixture
def policy() -> FlowPolicy:
    torch.manual_seed(0)
    return FlowPolicy(make_spec(), PolicyConfig(backbone=TinyConfig(width=32, layers=2, heads=2))).eval()


def inputs(batch: int = 3, text: str = 'pick up the red cube') -> Inputs:
    g = torch.Generator().manual_seed(1)
    images = {
        c: torch.randint(0, 255, (batch, 64, 64, 3), dtype=torch.uint8, generator=g)
        for c in ('front', 'wrist')
    }
    return Inputs(images, torch.randn(batch, 7, generator=g), [text] * batch)


def test_a_policy_stored_before_pictures_were_downsampled_loads_as_it_was(tmp_path):
    spec = replace(make_spec(), cameras={'front': (200, 300)})
    config = PolicyConfig(backbone=TinyConfig(width=32, layers=1, heads=2, max_side=0))
    torch.manual_seed(0)
    policy = FlowPolicy(spec, config).eval()
    checkpoint.save(policy, tmp_path / 'old')
    manifest = json.loads((tmp_path / 'old' / checkpoint.MANIFEST).read_text())
    del manifest['config']['backbone']['max_side']
    (tmp_path / 'old' / checkpoint.MANIFEST).write_text(json.dumps(manifest))
    loaded, _ = checkpoint.load(tmp_path / 'old')
    assert loaded.config == config
    picture = np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    seen = Observation(0.0, {'front': picture}, np.zeros(7, np.float32), 'pick up the red cube')
    found, expected = (p.act(seen, torch.Generator().manual_seed(0)) for p in (loaded, policy))
    np.testing.assert_array_equal(found, expected)


def test_a_picture_of_which_nothing_would_be_left_is_refused():
    spec = replace(make_spec(), cameras={'front': (12, 640)})
    with pytest.raises(ValueError, match=r"'front'.*give policy.backbone.max_side more than 128"):
        FlowPolicy(spec)


@pytest.mark.parametrize('size', [(84, 84), (45, 61), (120, 160), (4, 4)])
def test_pictures_of_any_size(size):
    spec = replace(make_spec(), cameras={'front': size})
    policy = FlowPolicy(spec, PolicyConfig(backbone=TinyConfig(width=32, layers=1, heads=2))).eval()
    image = np.full((*size, 3), 90, np.uint8)
    seen = Observation(0.0, {'front': image}, np.zeros(7, np.float32), 'pick up the red cube')
    assert policy.act(seen, torch.Generator().manual_seed(0)).shape == (8, 7)


def test_large_pictures_are_seen_smaller():
    """A camera of 640 x 480 costs what one of 128 x 96 does, and shows the same."""
    config = PolicyConfig(backbone=TinyConfig(width=32, layers=1, heads=2))
    torch.manual_seed(0)
    small = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    pictures = {1: small, 5: small.repeat(5, 0).repeat(5, 1)}
    policies, acted = {}, {}
    for factor, picture in pictures.items():
        spec = replace(make_spec(), cameras={'front': picture.shape[:2]})
        policies[factor] = FlowPolicy(spec, config).eval()
        policies[factor].load_state_dict(policies[1].state_dict())
        seen = Observation(0.0, {'front': picture}, np.zeros(7, np.float32), 'pick up the red cube')
        acted[factor] = policies[factor].act(seen, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(acted[1], acted[5], atol=1e-4)
    # what is kept of them to learn from
    kept = config.downsample(pictures[5][None].repeat(40, 0))
    np.testing.assert_array_equal(kept, pictures[1][None].repeat(40, 0))
    assert config.downsample(kept) is kept
    whole, small = (
        policies[5].encode(Inputs({'front': torch.from_numpy(stack)}, torch.zeros(1, 7), ['pick']))
        for stack in (pictures[5][None], pictures[1][None])
    )
    torch.testing.assert_close(whole.pooled, small.pooled, atol=1e-4, rtol=1e-4)
    assert config.backbone.cells(480, 640) == config.backbone.cells(96, 128) == 6 * 8


def test_candidates_shape_and_seed(policy):
    first = policy.candidates(inputs(), 4, torch.Generator().manual_seed(0))
    again = policy.candidates(inputs(), 4, torch.Generator().manual_seed(0))
    assert first.shape == (3, 4, 8, 7)
    torch.testing.assert_close(first, again)
    assert (first[:, 0] - first[:, 1]).abs().max() > 1e-3


def test_normalisation_round_trip_is_relative_to_the_state(policy):
    state = torch.randn(2, 7)
    targets = state[:, None] + torch.randn(2, 8, 7) * 0.1
    torch.testing.assert_close(
        policy.denormalize_actions(policy.normalize_actions(targets, state), state),
        targets,
        atol=1e-5,
        rtol=1e-4,
    )
    moved = policy.normalize_actions(targets + 1.0, state + 1.0)
    still = policy.normalize_actions(targets, state)
    torch.testing.assert_close(moved[..., :6], still[..., :6], atol=1e-4, rtol=1e-3)
    assert (moved[..., 6] - still[..., 6]).abs().min() > 0.1  # the gripper is absolute


def test_text_padding_does_not_matter_but_words_do(policy):
    prefix = policy.encode(inputs(1))
    assert prefix.keys.shape[:2] == (2, 1)
    assert prefix.mask.sum() == 5 + 1 + 2 * 16
    other = policy.encode(inputs(1, 'pick up the blue cube'))
    assert (prefix.pooled - other.pooled).abs().max() > 1e-4


def test_flow_loss_counts_only_valid_rows(policy):
    prefix = policy.encode(inputs(1))
    actions, noise = torch.randn(1, 8, 7), torch.randn(1, 8, 7)
    time = torch.rand(1, 1).expand(1, 8)
    valid = torch.tensor([[True] * 3 + [False] * 5])
    loss = policy.flow_loss(prefix, actions, noise, time, valid)
    # attention sees all rows, so only the error is masked: rebuild it by hand
    x = time[..., None] * noise + (1 - time[..., None]) * actions
    error = (policy.expert(x, time, prefix) - (noise - actions)).square().mean(-1)
    torch.testing.assert_close(loss, error[:, :3].mean(-1))


def test_per_token_time_reaches_its_token_only_through_modulation(policy):
    torch.nn.init.normal_(policy.expert.blocks[-1].modulation.weight, std=0.1)
    prefix = policy.encode(inputs(1))
    x, time = torch.randn(1, 8, 7), torch.full((1, 8), 0.5)
    changed = time.clone()
    changed[0, 7] = 0.0
    difference = (policy.expert(x, time, prefix) - policy.expert(x, changed, prefix)).abs().amax(-1)[0]
    assert difference[7] > difference[:7].max()


def test_integration_of_a_straight_flow_is_exact():
    target = torch.randn(2, 8, 7)

    def straight(x, time, prefix):
        return (x - target) / time[..., None].clamp(min=1e-6)

    out = flow.integrate(straight, None, torch.randn(2, 8, 7), 5)
    torch.testing.assert_close(out, target, atol=1e-5, rtol=1e-4)


def test_sample_time_has_the_law_of_beta():
    t = flow.sample_time((20000,), torch.Generator().manual_seed(0))
    assert t.min() > 0
    assert t.max() <= 1
    assert abs(float(t.mean()) - 0.6) < 0.01  # Beta(1.5, 1): 1.5 / 2.5


def test_overfits_two_samples(policy):
    torch.manual_seed(0)
    policy.train()
    data = inputs(2)
    data.text = ['pick up the red cube', 'pick up the blue cube']
    data.images = {c: i[:1].repeat(2, 1, 1, 1) for c, i in data.images.items()}
    data.state = data.state[:1].repeat(2, 1)
    goal = torch.stack([torch.full((8, 7), 1.0), torch.full((8, 7), -1.0)])
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)
    for _ in range(120):
        prefix = policy.encode(data).repeat(4)
        noise, time = torch.randn(8, 8, 7), flow.sample_time((8, 1)).expand(8, 8)
        loss = policy.flow_loss(prefix, goal.repeat_interleave(4, 0), noise, time).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    policy.eval()
    out = policy.normalize_actions(policy.candidates(data, 1)[:, 0], data.state)
    # same picture, same state: only the instruction differs
    assert (out[0] - 1).abs().mean() < 0.3
    assert (out[1] + 1).abs().mean() < 0.3


def observation(**changes) -> Observation:
    images = {c: np.zeros((64, 64, 3), np.uint8) for c in ('front', 'wrist')}
    return Observation(**{'stamp': 1.0, 'images': images, 'state': np.zeros(7), 'text': 'pick', **changes})


def test_act_refuses_bad_input(policy):
    assert policy.act(observation()).shape == (8, 7)
    with pytest.raises(ValueError, match='wrist'):
        policy.act(observation(images={'front': np.zeros((64, 64, 3), np.uint8)}))
    with pytest.raises(ValueError, match='trained on'):
        policy.act(observation(images={c: np.zeros((32, 64, 3), np.uint8) for c in ('front', 'wrist')}))
    with pytest.raises(ValueError, match='not finite'):
        policy.act(observation(state=np.full(7, np.nan)))
    with torch.no_grad():
        policy.expert.leave.bias.fill_(float('nan'))
    with pytest.raises(ValueError, match='not finite'):
        policy.act(observation())


def test_checkpoint_round_trip(policy, tmp_path):
    digest = checkpoint.save(policy, tmp_path / 'p', {'name': 'test'})
    loaded, manifest = checkpoint.load(tmp_path / 'p', digest)
    assert manifest['about']['name'] == 'test'
    g = torch.Generator()
    torch.testing.assert_close(
        policy.candidates(inputs(), 1, g.manual_seed(0)), loaded.candidates(inputs(), 1, g.manual_seed(0))
    )
    assert [p.name for p in tmp_path.iterdir()] == ['p']  # nothing temporary is left
    checkpoint.save(policy, tmp_path / 'p', {'name': 'again'})
    assert checkpoint.load(tmp_path / 'p')[1]['about']['name'] == 'again'


def test_damaged_checkpoints_are_refused(policy, tmp_path):
    with pytest.raises(CheckpointError, match='apprentice train bc'):
        checkpoint.load(tmp_path / 'none')
    folder = tmp_path / 'p'
    checkpoint.save(policy, folder)
    with pytest.raises(CheckpointError, match='announced'):
        checkpoint.load(folder, '0' * 64)
    weights = folder / checkpoint.WEIGHTS
    content = weights.read_bytes()
    weights.write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match='damaged'):
        checkpoint.load(folder)
    weights.write_bytes(content)
    manifest = json.loads((folder / checkpoint.MANIFEST).read_text())
    del manifest['spec']['action']['std']
    (folder / checkpoint.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(StatisticsError, match='std'):
        checkpoint.load(folder)
    (folder / checkpoint.MANIFEST).write_text('{')
    with pytest.raises(CheckpointError, match='damaged'):
        checkpoint.load(folder)


def test_non_finite_weights_are_refused(policy, tmp_path):
    with torch.no_grad():
        policy.expert.leave.bias[0] = float('inf')
    checkpoint.save(policy, tmp_path / 'p')
    with pytest.raises(CheckpointError, match='not finite'):
        checkpoint.load(tmp_path / 'p')


def test_weights_for_another_robot_name_every_difference(policy):
    policy.spec.require(ROBOT)
    import dataclasses

    other = dataclasses.replace(ROBOT, name='ur5e', action_dt=0.05, cameras=ROBOT.cameras[:1])
    with pytest.raises(PolicyMismatch) as caught:
        policy.spec.require(other)
    for word in ('ur5e', 'action_dt', 'wrist', 'apprentice train bc'):
        assert word in str(caught.value)


def test_shipped_weights_fit_the_shipped_robot():
    loaded, manifest = checkpoint.load(share('weights', 'policy'))
    loaded.spec.require(ROBOT)
    assert manifest['about']['train_steps'] > 0
