# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Our policy as a plug-in of LeRobot: found by its factory, trained by it, and read back by both.

Needs lerobot and the plug-in in this environment; docs/policies.md says how to run it.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
import yaml
from lerobot_files import write_dataset

from apprentice.policies import checkpoint
from apprentice.policies.backbones.tiny import TinyConfig
from apprentice.policies.config import PolicyConfig
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.rtc import PreviousChunk
from apprentice.policies.runtime import load_policy
from apprentice.policies.spec import PolicySpec, gripper_ranges
from apprentice.robot.normalize import Statistics
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Observation, Outcome, Source

pytest.importorskip('lerobot', reason='lerobot is not installed (see docs/policies.md, LeRobot)')
plugin = pytest.importorskip('lerobot_policy_apprentice', reason='pip install ./lerobot_policy_apprentice')

ROBOT = RobotSpec.load(share('robots', 'sim_arm.yaml'))
SMALL = PolicyConfig(backbone=TinyConfig(width=32, layers=2, heads=2))


@pytest.fixture
def trained(tmp_path):
    """A checkpoint of ours, and the folder made of it for LeRobot."""
    rng = np.random.default_rng(0)
    spec = PolicySpec(
        robot='sim_arm',
        joints=ROBOT.joint_names,
        relative=(True,) * 6 + (False,),
        cameras={'front': (64, 64), 'wrist': (64, 64)},
        horizon=8,
        action_dt=0.1,
        state=Statistics.of(rng.normal(0.3, 0.5, (99, 7)), ROBOT.joint_names, 'state'),
        action=Statistics.of(rng.normal(0.05, 0.2, (99, 7)), ROBOT.joint_names, 'action'),
        gripper=gripper_ranges(ROBOT),
    )
    torch.manual_seed(0)
    policy = FlowPolicy(spec, SMALL).eval()
    checkpoint.save(policy, tmp_path / 'ours')
    argv, sys.argv = sys.argv, ['', str(tmp_path / 'ours'), str(tmp_path / 'theirs')]
    try:
        __import__('lerobot_policy_apprentice.__main__', fromlist=['main']).main()
    finally:
        sys.argv = argv
    return policy, tmp_path / 'ours', tmp_path / 'theirs'


def observation() -> Observation:
    rng = np.random.default_rng(1)
    images = {name: rng.integers(0, 255, (64, 64, 3), np.uint8) for name in ('front', 'wrist')}
    return Observation(1.0, images, rng.normal(size=7), 'pick up the red cube')


def make_episode(number: int) -> Episode:
    """The arm follows a wave: there is something to learn."""
    steps, rng = 24, np.random.default_rng(number)
    phase = np.arange(steps + 1)[:, None] / 5 + rng.uniform(0, 6, (1, ROBOT.dim))
    wave = (0.3 * np.sin(phase)).astype(np.float32)
    return Episode(
        episode_id=f'e{number}',
        task='wave',
        seed=0,
        outcome=Outcome.SUCCESS,
        end_cause=0,
        eval_only=False,
        stamps=np.arange(steps) * 0.1,
        images={c.name: rng.integers(0, 255, (steps, 64, 64, 3), np.uint8) for c in ROBOT.cameras},
        state=wave[:-1],
        action=wave[1:],
        source=np.full(steps, int(Source.HUMAN), np.uint8),
        takeover_id=np.ones(steps, np.int64),
        robot='sim_arm',
    )


def test_the_factory_finds_the_plug_in(trained):
    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.policies.factory import get_policy_class, make_policy_config, make_pre_post_processors
    from lerobot.utils.import_utils import register_third_party_plugins

    register_third_party_plugins()
    assert get_policy_class('apprentice') is plugin.ApprenticePolicy
    assert isinstance(make_policy_config('apprentice', device='cpu'), plugin.ApprenticeConfig)
    config = PreTrainedConfig.from_pretrained(trained[2])
    assert config.type == 'apprentice'
    # what lerobot-train overrides when it goes on from a checkpoint
    overrides = {
        name: {} for name in ('device_processor', 'normalizer_processor', 'rename_observations_processor')
    }
    make_pre_post_processors(
        config, pretrained_path=str(trained[2]), preprocessor_overrides=overrides,
        postprocessor_overrides={'unnormalizer_processor': {}},
    )  # fmt: skip


def test_chunks_are_those_of_our_policy(trained):
    policy, _, theirs = trained
    settings = {'robot': 'sim_arm', 'mapping': {'names': ROBOT.joint_names}}
    runs, manifest = load_policy(theirs, runtime='lerobot', settings=settings)
    assert manifest['about']['name'] == 'apprentice of LeRobot'
    seed = int(torch.randint(0, 2**31, (1,), generator=torch.Generator().manual_seed(3)))
    rows = np.random.default_rng(2).normal(0.3, 0.3, (5, 7))
    for previous in (None, PreviousChunk(rows, 2)):
        torch.manual_seed(seed)
        wanted = policy.act(observation(), previous=previous)
        found = runs.act(observation(), torch.Generator().manual_seed(3), previous)
        assert np.abs(found - wanted).max() <= 1e-5
    # without a continued chunk it would be another one
    assert np.abs(runs.act(observation(), torch.Generator().manual_seed(3)) - wanted).max() > 1e-2


def test_actions_are_given_out_one_by_one(trained):
    policy = plugin.ApprenticePolicy.from_pretrained(trained[1])  # a folder that LeRobot did not write
    before, after = plugin.make_apprentice_pre_post_processors(policy.config)
    images = {f'observation.images.{n}': torch.rand(3, 64, 64) for n in ('front', 'wrist')}
    batch = before({**images, 'observation.state': torch.rand(7), 'task': 'wave'})
    torch.manual_seed(0)
    chunk = policy.predict_action_chunk(batch)
    assert chunk.shape == (1, 8, 7)
    torch.manual_seed(0)
    policy.reset()
    actions = torch.stack([after(policy.select_action(batch)) for _ in range(4)], 1)
    torch.testing.assert_close(actions, chunk[:, :4])
    assert (policy.select_action(batch) - chunk[:, 4]).abs().max() > 1e-3  # planned anew
    with pytest.raises(ValueError, match='noise'):
        policy.predict_action_chunk(batch, noise=torch.zeros(1, 8, 7))


def train(policy, batch, steps: int) -> list[float]:
    preset = policy.config.get_optimizer_preset()
    optimizer = preset.build(policy.get_optim_params())
    losses = []
    policy.train()
    for _ in range(steps):
        loss, metrics = policy.forward(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), preset.grad_clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(metrics['flow_loss'])
    return losses


def dataset_and_policy(tmp_path, names, **options):
    from lerobot.datasets.factory import resolve_delta_timestamps
    from lerobot.datasets.lerobot_dataset import LeRobotDataset, LeRobotDatasetMetadata
    from lerobot.policies.factory import make_policy, make_policy_config

    folder = write_dataset(tmp_path / 'set', [make_episode(n) for n in range(3)], names, extras=False)
    small = {'backbone': {'part': TinyConfig.part, 'width': 32, 'layers': 2, 'heads': 2}}
    (tmp_path / 'small.yaml').write_text(yaml.safe_dump(small))
    config = make_policy_config(
        'apprentice', robot='sim_arm', architecture=str(tmp_path / 'small.yaml'), device='cpu',
        push_to_hub=False, optimizer_lr=2e-3, **options,
    )  # fmt: skip
    meta = LeRobotDatasetMetadata('set', root=folder)
    deltas = resolve_delta_timestamps(config, meta)
    return LeRobotDataset('set', root=folder, delta_timestamps=deltas), make_policy(config, ds_meta=meta)


def test_training_reduces_the_loss_and_both_read_the_result(tmp_path):
    from lerobot.policies.factory import make_policy

    data, policy = dataset_and_policy(tmp_path, ROBOT.joint_names)
    assert policy.model.spec.relative == (True,) * 6 + (False,)
    before, _ = plugin.make_apprentice_pre_post_processors(policy.config)
    batch = before(next(iter(torch.utils.data.DataLoader(data, batch_size=72))))
    assert batch['action'].shape == (72, 8, 7)
    torch.manual_seed(0)
    losses = train(policy, batch, 60)
    first, last = np.mean(losses[:5]), np.mean(losses[-5:])
    assert last < 0.6 * first, (first, last)
    per_sample, _ = policy.forward(batch, reduction='none')
    assert per_sample.shape == (72,)
    policy.save_pretrained(tmp_path / 'saved')
    ours, _ = checkpoint.load(tmp_path / 'saved')
    ours.spec.require(ROBOT)
    policy.config.pretrained_path = tmp_path / 'saved'
    again = make_policy(policy.config, ds_meta=data.meta)
    for name, tensor in policy.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor)
        torch.testing.assert_close(ours.state_dict()[name.removeprefix('model.')], tensor)


def test_a_dataset_in_other_units(tmp_path):
    """The policy gives what the dataset has, and holds what the robot file says."""
    mapping = tmp_path / 'mapping.yaml'
    names = [f'm{i}' for i in range(7)]
    mapping.write_text(
        'joints: {joint1: m1, joint2: m0, joint3: m2, joint4: m3, joint5: m4, joint6: m5, gripper: m6}\n'
        'scale: {joint1: degrees, gripper: -2.0}\noffset: {gripper: 0.5}\n'
    )
    data, policy = dataset_and_policy(tmp_path, names, mapping=str(mapping))
    state = torch.from_numpy(np.concatenate([make_episode(n).state for n in range(3)]))
    held = torch.as_tensor(policy.model.spec.state.mean, dtype=torch.float32)
    torch.testing.assert_close(held[1], state[:, 0].mean(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(held[0], state[:, 1].mean() * np.pi / 180, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(held[6], 0.5 - 2 * state[:, 6].mean(), atol=1e-5, rtol=1e-4)
    batch = next(iter(torch.utils.data.DataLoader(data, batch_size=2)))
    inputs = policy._inputs(batch)
    chunk = policy.predict_action_chunk(batch)
    torch.manual_seed(0)
    raw = policy.model.candidates(inputs, 1)[:, 0]
    torch.manual_seed(0)
    chunk = policy.predict_action_chunk(batch)
    torch.testing.assert_close(chunk[..., 0], raw[..., 1])
    torch.testing.assert_close(chunk[..., 1], torch.rad2deg(raw[..., 0]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(chunk[..., 6], (raw[..., 6] - 0.5) / -2, rtol=1e-4, atol=1e-4)
    # what is saved keeps the units
    policy.save_pretrained(tmp_path / 'saved')
    again = plugin.ApprenticePolicy.from_pretrained(tmp_path / 'saved')
    torch.manual_seed(0)
    torch.testing.assert_close(again.predict_action_chunk(batch), chunk)


def test_what_does_not_fit_is_named(trained, tmp_path):
    config = plugin.ApprenticeConfig.of(trained[0].spec, device='cpu')
    with pytest.raises(ValueError, match=r'--policy\.robot=FILE'):
        plugin.ApprenticePolicy(config)
    config.input_features.pop('observation.images.wrist')
    config.output_features['action'].shape = (6,)
    config.chunk_size = 16
    with pytest.raises(ValueError, match=r'(?s)images\.wrist.*6 elements, the policy 7.*chunk_size is 16'):
        plugin.ApprenticePolicy(config, policy=trained[0])
    with pytest.raises(ValueError, match='n_action_steps'):
        plugin.ApprenticeConfig(n_action_steps=9, device='cpu')
