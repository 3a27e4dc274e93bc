# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Policies of LeRobot as ours.

What needs the real package is skipped without it; docs/policies.md says how to run it.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from apprentice.policies.checkpoint import CheckpointError
from apprentice.policies.lerobot_fit import fit
from apprentice.policies.lerobot_policy import LeRobotPolicy, LeRobotSettings, load
from apprentice.policies.rtc import PreviousChunk, RtcConfig
from apprentice.policies.runtime import load_policy
from apprentice.policies.spec import PolicyMismatch
from apprentice.robot.feature_mapping import FeatureMapping
from apprentice.robot.parts import share
from apprentice.robot.settings import SettingsError, from_dict
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Observation

LEROBOT = importlib.util.find_spec('lerobot') is not None
needs_lerobot = pytest.mark.skipif(
    not LEROBOT, reason='lerobot is not installed (see docs/policies.md, LeRobot)'
)
ROBOT = RobotSpec.load(share('robots', 'sim_arm.yaml'))
DEGREES = {**dict.fromkeys(ROBOT.joint_names[:6], 'degrees'), 'gripper': 0.04}
MAPPING = FeatureMapping(
    names=('gripper.pos', *(f'{name}.pos' for name in ROBOT.joint_names[:6])),
    joints={name: f'{name}.pos' for name in ROBOT.joint_names},
    cameras={'front': 'observation.images.top'},
    scale=DEGREES,
)


def feature(kind: str, *shape: int) -> SimpleNamespace:
    return SimpleNamespace(type=kind, shape=shape)


def config(**changes) -> SimpleNamespace:
    """The fields that are read of LeRobot's PreTrainedConfig."""
    inputs = {
        'observation.images.top': feature('VISUAL', 3, 64, 64),
        'observation.images.empty_camera_0': feature('VISUAL', 3, 480, 640),
        'observation.state': feature('STATE', 7),
    }
    outputs = {'action': feature('ACTION', 7)}
    fields = {'type': 'act', 'n_obs_steps': 1, 'action_delta_indices': list(range(8)), 'rtc_config': None}
    return SimpleNamespace(**{**fields, 'input_features': inputs, 'output_features': outputs, **changes})


def observation(**changes) -> Observation:
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 255, (64, 64, 3), np.uint8) for name in ('front', 'wrist')}
    return Observation(
        **{'stamp': 1.0, 'images': images, 'state': rng.normal(size=7), 'text': 'pick', **changes}
    )


def test_a_policy_that_fits():
    fitted = fit(config(), ROBOT, MAPPING)
    assert fitted.images == {'front': ('observation.images.top', (64, 64))}
    spec = fitted.spec
    assert (spec.horizon, spec.cameras, spec.action_dt) == (8, {'front': (64, 64)}, 0.1)
    spec.require(ROBOT)
    assert type(spec).from_dict(spec.to_dict()).to_dict() == spec.to_dict()


def test_every_difference_is_named_at_once():
    inputs = {
        'observation.images.side': feature('VISUAL', 3, 64, 64),
        'observation.images.wrist': feature('VISUAL', 3, 48, 64),
        'observation.state': feature('STATE', 8),
        'observation.environment_state': feature('ENV', 3),
    }
    wrong = config(
        input_features=inputs,
        output_features={'action': feature('ACTION', 6)},
        n_obs_steps=2,
        action_delta_indices=[-1, 0, 1],
    )
    with pytest.raises(PolicyMismatch) as caught:
        fit(wrong, ROBOT, MAPPING)
    text = str(caught.value)
    for part in (
        '2 observations at once',
        'the actions [-1, 0, 1]',
        "needs 'observation.images.side' (VISUAL)",
        "needs 'observation.environment_state' (ENV)",
        "camera 'wrist' is (64, 64), 'observation.images.wrist' is (48, 64)",
        "no image 'observation.images.top'",
        "'observation.state' has 8 elements, but 7 names",
        "'action' has 6 elements, but 7 names",
        'apprentice.yaml',
    ):
        assert part in text, f'{part!r} is not in {text!r}'
    with pytest.raises(PolicyMismatch, match='7 elements without names'):
        fit(config(), ROBOT, FeatureMapping(cameras=MAPPING.cameras))


class Steps(torch.nn.Module):
    """A policy with LeRobot's interface: row i of a chunk is the state it was shown, plus i."""

    def __init__(self, rtc: bool = False):
        super().__init__()
        self.config, self.seen = config(), []
        if rtc:
            self.supports_rtc = lambda: True

    def reset(self) -> None:
        self.seen.clear()

    def predict_action_chunk(self, batch, **options):
        self.seen.append((batch, options))
        noise = 0.0 if batch['task'] else torch.randn(1)
        return batch['observation.state'][:, None] + torch.arange(8.0)[None, :, None] + noise


def wrapped(policy: Steps, mapping: FeatureMapping = MAPPING) -> LeRobotPolicy:
    double = dict(before=lambda batch: batch, after=lambda chunk: chunk)
    return LeRobotPolicy(policy, fitted=fit(config(), ROBOT, mapping), **double)


def test_units_and_names_of_both_directions():
    policy, seen = Steps(), observation()
    actions = wrapped(policy).act(seen)
    batch, options = policy.seen[0]
    assert not options
    assert batch['task'] == 'pick'
    assert batch['observation.images.top'].shape == (1, 3, 64, 64)
    image = (batch['observation.images.top'][0] * 255).round().byte().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(image, seen.images['front'])
    theirs = np.concatenate([seen.state[6:] / 0.04, np.rad2deg(seen.state[:6])])
    np.testing.assert_allclose(batch['observation.state'][0], theirs, rtol=1e-6)
    steps = np.arange(8)[:, None] * np.array([np.pi / 180] * 6 + [0.04])
    np.testing.assert_allclose(actions, seen.state + steps, atol=1e-5)


def test_noise_comes_from_the_generator_and_leaves_the_global_one_alone():
    policy = wrapped(Steps())
    before = torch.get_rng_state()
    first, again, other = (
        policy.act(observation(text=''), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4
    assert torch.equal(before, torch.get_rng_state())


def test_a_previous_chunk_is_passed_on_or_said_to_be_ignored(caplog):
    rows = np.random.default_rng(1).normal(size=(5, 7))
    previous = PreviousChunk(rows, 2)
    policy = Steps(rtc=True)
    wrapped(policy).act(observation(), previous=previous)
    options = policy.seen[0][1]
    assert (options['inference_delay'], options['execution_horizon']) == (2, 5)
    theirs = np.concatenate([rows[:, 6:] / 0.04, np.rad2deg(rows[:, :6])], 1)
    np.testing.assert_allclose(options['prev_chunk_left_over'][0], theirs, rtol=1e-5)
    wrapped(policy).act(observation(), previous=previous, rtc=RtcConfig('none'))
    assert policy.seen[0][1] == {}
    plain = wrapped(Steps())
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            plain.act(observation(), previous=previous)
    assert plain.policy.seen[0][1] == {}
    assert [record.getMessage() for record in caplog.records] == [
        'Steps cannot continue a chunk (no real-time chunking): each is planned on its own'
    ]


def test_images_are_resized_only_when_asked():
    wide = config(
        input_features={
            'observation.images.top': feature('VISUAL', 3, 32, 64),
            'observation.state': feature('STATE', 7),
        }
    )
    with pytest.raises(PolicyMismatch, match='resize'):
        fit(wide, ROBOT, MAPPING)
    mapping = FeatureMapping(MAPPING.cameras, joints=MAPPING.joints, names=MAPPING.names, resize='pad')
    policy = LeRobotPolicy(Steps(), lambda batch: batch, lambda chunk: chunk, fit(wide, ROBOT, mapping))
    image = policy.batch(observation())['observation.images.top'][0]
    assert image.shape == (3, 32, 64)
    assert image[:, :, :16].abs().max() == 0
    assert image[:, :, 16:48].min() > 0


def test_bad_input_and_output_are_refused():
    policy = wrapped(Steps())
    with pytest.raises(ValueError, match="camera 'front'"):
        policy.act(observation(images={}))
    with pytest.raises(ValueError, match='not finite'):
        policy.act(observation(state=np.full(7, np.nan)))
    policy.after = lambda chunk: chunk[:, :5]
    with pytest.raises(ValueError, match=r'gave \(5, 7\)'):
        policy.act(observation())
    policy.after = lambda chunk: chunk * float('inf')
    with pytest.raises(ValueError, match='not finite'):
        policy.act(observation())


def test_what_the_docs_show_is_read():
    text = (Path(__file__).parents[2] / 'docs' / 'policies.md').read_text().split('## LeRobot')[1]
    mapping, settings = re.findall(r'^```yaml\n(.*?)^```', text, re.DOTALL | re.MULTILINE)[:2]
    assert from_dict(FeatureMapping, yaml.safe_load(mapping)).resize == 'pad'
    assert from_dict(LeRobotSettings, yaml.safe_load(settings)).robot == 'my_arm.yaml'


@pytest.mark.skipif(LEROBOT, reason='lerobot is installed')
def test_without_lerobot_the_remedy_is_named(tmp_path):
    with pytest.raises(ImportError, match=r'pip install .*lerobot'):
        load_policy(tmp_path, runtime='lerobot')


# from here on with the real package


@pytest.fixture(scope='module')
def act(tmp_path_factory):
    """A small ACT policy, made and saved by lerobot with processors that normalise."""
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy
    from lerobot.policies.factory import make_pre_post_processors

    torch.manual_seed(0)
    config = ACTConfig(
        input_features={
            'observation.images.top': PolicyFeature(FeatureType.VISUAL, (3, 64, 64)),
            'observation.state': PolicyFeature(FeatureType.STATE, (7,)),
        },
        output_features={'action': PolicyFeature(FeatureType.ACTION, (7,))},
        chunk_size=8, n_action_steps=4, dim_model=32, n_heads=2, dim_feedforward=64, n_encoder_layers=1,
        n_vae_encoder_layers=1, pretrained_backbone_weights=None, device='cpu',
    )  # fmt: skip
    rng = np.random.default_rng(0)
    stats = {
        name: {'mean': rng.normal(size=shape).astype('f4'), 'std': rng.uniform(0.5, 2, shape).astype('f4')}
        for name, shape in (
            ('observation.images.top', (3, 1, 1)), ('observation.state', (7,)), ('action', (7,)),
        )
    }  # fmt: skip
    policy = ACTPolicy(config).eval()
    before, after = make_pre_post_processors(config, dataset_stats=stats)
    folder = tmp_path_factory.mktemp('act')
    for part in (policy, before, after):
        part.save_pretrained(folder)
    return folder, policy, before, after


@needs_lerobot
def test_act_of_lerobot_gives_its_own_actions(act):
    from lerobot.policies.utils import prepare_observation_for_inference

    folder, policy, before, after = act
    settings = {'robot': 'sim_arm', 'mapping': {'names': ROBOT.joint_names, 'cameras': MAPPING.cameras}}
    ours, manifest = load_policy(folder, runtime='lerobot', settings=settings)
    assert manifest['about']['name'] == 'act of LeRobot'
    ours.spec.require(ROBOT)
    seen = observation()
    theirs = {
        'observation.images.top': seen.images['front'],
        'observation.state': seen.state.astype(np.float32),
    }
    theirs = prepare_observation_for_inference(theirs, torch.device('cpu'), seen.text, 'sim_arm')
    with torch.no_grad():
        policy.reset()
        wanted = after(policy.predict_action_chunk(before(theirs)))[0].numpy()
        # their own way of acting, one action at a time
        first = torch.stack([after(policy.select_action(before(theirs)))[0] for _ in range(4)]).numpy()
    found = ours.act(seen)
    assert found.shape == (8, 7)
    assert np.abs(found - wanted).max() <= 1e-6
    assert np.abs(found[:4] - first).max() <= 1e-6
    again, _ = load_policy(folder, manifest['weights_sha256'], runtime='lerobot', settings=settings)
    np.testing.assert_array_equal(again.act(seen), found)
    with pytest.raises(CheckpointError, match='announced'):
        load(folder, '0' * 64, settings=settings)
    # in degrees, with the gripper first: the same policy, in other units
    (folder / 'apprentice.yaml').write_text(
        'robot: sim_arm\nmapping:\n  cameras: {front: observation.images.top}\n  resize: pad\n'
        f'  names: {list(MAPPING.names)}\n  joints: {MAPPING.joints}\n  scale: {MAPPING.scale}\n'
    )
    other, _ = load(folder)
    state = np.concatenate([np.deg2rad(seen.state[1:]), seen.state[:1] * 0.04])
    turned = other.act(observation(state=state))
    np.testing.assert_allclose(np.rad2deg(turned[:, :6]), found[:, 1:], atol=1e-4)
    np.testing.assert_allclose(turned[:, 6] / 0.04, found[:, 0], atol=1e-4)


@needs_lerobot
def test_folders_without_a_policy_are_refused(act, tmp_path):
    settings = {'robot': 'sim_arm', 'mapping': {'names': ROBOT.joint_names, 'cameras': MAPPING.cameras}}
    with pytest.raises(CheckpointError, match=r'config\.json is missing.*hub=true'):
        load('lerobot/act_aloha', settings=settings)
    for name in ('config.json', 'model.safetensors'):
        (tmp_path / name).write_bytes((act[0] / name).read_bytes())
    with pytest.raises(SettingsError, match=r'apprentice\.yaml'):
        load(tmp_path)
    with pytest.raises(CheckpointError, match='no processors'):
        load(tmp_path, settings=settings)
    with pytest.raises(PolicyMismatch, match=r'observation\.images\.top'):
        load(tmp_path, settings={'robot': 'sim_arm'})
