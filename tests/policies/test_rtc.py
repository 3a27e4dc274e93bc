# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Real-time chunking: the equations of the papers, and what they do to the chunks of a policy."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from apprentice.policies import checkpoint, flow
from apprentice.policies.backbones.tiny import TinyConfig
from apprentice.policies.config import PolicyConfig
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.rtc import MODES, Guidance, PreviousChunk, RtcConfig, row_weights
from apprentice.policies.spec import PolicySpec
from apprentice.robot.normalize import Statistics
from apprentice.robot.parts import share
from apprentice.robot.types import Observation

H, A = 16, 7
JOINTS = tuple(f'joint{i}' for i in range(A))


def paper_weight(i: int, d: int, horizon: int, s: int) -> float:
    """Equation 5 of arXiv 2506.07339, as printed: horizon H, s executed rows, d rows of delay."""
    if i < d:
        return 1.0
    if i >= horizon - s:
        return 0.0
    c = (horizon - s - i) / (horizon - s - d + 1)
    return c * (math.exp(c) - 1) / (math.e - 1)


def test_row_weights_are_those_of_the_paper():
    for s in range(1, H + 1):
        for d in range(0, H - s + 1):
            soft = [paper_weight(i, d, H, s) for i in range(H)]
            np.testing.assert_allclose(row_weights('soft', d, H - s, H), soft, rtol=1e-12)
            hard = [float(i < d) for i in range(H)]
            np.testing.assert_array_equal(row_weights('hard', d, H - s, H), hard)
    assert np.all(np.diff(row_weights('soft', 3, 12, H)[3:]) <= 0)
    # no more rows can be past than there are of the chunk before
    np.testing.assert_array_equal(row_weights('soft', 9, 4, H), row_weights('soft', 4, 4, H))
    assert not row_weights('none', 0, 0, H).any()


def test_integration_is_that_of_the_paper():
    """Against a loop in the paper's own terms: tau runs from noise 0 to action 1, v = action - noise."""
    rng = np.random.default_rng(0)
    mix, shift = rng.normal(size=(A, A)) * 0.3, rng.normal(size=A)
    target, noise = rng.normal(size=(H, A)), rng.normal(size=(H, A))
    n, d, s, beta = 5, 3, 4, 5.0

    def velocity(x: np.ndarray, tau: float) -> np.ndarray:
        return np.tanh(x @ mix + shift) * (1 + tau)

    x, weight = noise.copy(), np.diag([paper_weight(i, d, H, s) for i in range(H)])
    for k in range(n):
        tau = k / n
        v = velocity(x, tau)
        estimate = x + (1 - tau) * v
        r2 = (1 - tau) ** 2 / (tau**2 + (1 - tau) ** 2)
        gain = beta if tau == 0 else min(beta, (1 - tau) / (tau * r2))
        x = x + (v + gain * weight @ (target - estimate)) / n

    def expert(chunk, time, prefix):
        return torch.from_numpy(-velocity(chunk[0].numpy(), 1 - float(time[0, 0]))[None])

    guidance = Guidance.of(torch.from_numpy(target[None]), d, H - s, RtcConfig('soft', beta))
    found = flow.integrate(expert, None, torch.from_numpy(noise[None]), n, guidance)
    np.testing.assert_allclose(found[0].numpy(), x, rtol=1e-9)


def test_steering_leaves_rows_of_weight_0_alone_and_moves_the_others_to_the_target():
    torch.manual_seed(0)
    target, x, velocity = torch.randn(2, H, A), torch.randn(2, H, A), torch.randn(2, H, A)
    for mode, free in (('hard', 3), ('soft', 10)):
        guidance = Guidance.of(target, 3, 10, RtcConfig(mode))
        for t in (1.0, 0.6, 0.2):
            steered = guidance.steer(velocity, x, t)
            assert torch.equal(steered[:, free:], velocity[:, free:])
            before, after = (target - (x - t * v) for v in (velocity, steered))
            # one step of a fifth goes towards the target: how far the whole step leads
            moved = (x - steered / 5) - (x - velocity / 5)
            assert torch.all((moved * before)[:, :free] >= 0)
            assert not torch.equal(after[:, :free], before[:, :free])


def make_policy(max_delay: int = 0, relative: bool = True) -> FlowPolicy:
    rng = np.random.default_rng(0)
    state, action = rng.normal(0.3, 0.5, (200, A)), rng.normal(0.05, 0.2, (200, A))
    spec = PolicySpec(
        'robot',
        JOINTS,
        (relative,) * (A - 1) + (False,),
        {'front': (32, 32)},
        H,
        0.1,
        Statistics.of(state, JOINTS, 'state'),
        Statistics.of(action, JOINTS, 'action'),
    )
    torch.manual_seed(0)
    config = PolicyConfig(
        backbone=TinyConfig(width=32, layers=1, heads=2, channels=(8, 8, 16)), max_delay=max_delay
    )
    policy = FlowPolicy(spec, config).eval()
    for block in policy.expert.blocks:  # as after training: times and neighbours matter
        torch.nn.init.normal_(block.modulation.weight, std=0.2)
    return policy


def observation(offset: float = 0.0) -> Observation:
    state = np.linspace(0.0, 0.6, A) + offset
    return Observation(1.0, {'front': np.full((32, 32, 3), 90, np.uint8)}, state, 'pick up the red cube')


def chunk(offset: float = 0.0, rows: int = 12) -> np.ndarray:
    return np.linspace(0.0, 0.6, A) + offset + np.linspace(0.01, 0.2, rows)[:, None]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_delay_or_mode_it_is_plain_sampling_bit_for_bit():
    policy = make_policy()
    plain = policy.act(observation(), seeded())
    for mode, delay in (('none', 4), ('none', 0), ('hard', 0), ('trained', 0)):
        found = policy.act(observation(), seeded(), PreviousChunk(chunk(), delay), RtcConfig(mode))
        np.testing.assert_array_equal(found, plain, err_msg=f'{mode}, delay {delay}')
    for mode in MODES:
        empty = PreviousChunk(np.zeros((0, A)), 0)
        np.testing.assert_array_equal(policy.act(observation(), seeded(), empty, RtcConfig(mode)), plain)
        np.testing.assert_array_equal(policy.act(observation(), seeded(), None, RtcConfig(mode)), plain)
    # soft continues the chunk before even then; that is why lock-step does not use it unasked
    assert not np.array_equal(policy.act(observation(), seeded(), PreviousChunk(chunk(), 0)), plain)


@pytest.mark.parametrize('mode', ['hard', 'soft'])
def test_guidance_leads_the_past_rows_to_the_chunk_before(mode):
    policy, previous = make_policy(), PreviousChunk(chunk(), 4)
    plain = policy.act(observation(), seeded())
    found = policy.act(observation(), seeded(), previous, RtcConfig(mode))
    near, far = (np.abs(x[:4] - previous.actions[:4]).mean(0) for x in (found, plain))
    assert np.all(near < 0.3 * far)
    # rows in between: only soft holds them too
    between = np.abs(found[4:10] - previous.actions[4:10]).mean() / np.abs(plain[4:10] - chunk()[4:10]).mean()
    assert (between < 0.9) == (mode == 'soft')


def test_trained_rows_stay_frozen():
    policy, previous = make_policy(max_delay=6), PreviousChunk(chunk(), 4)
    seen = []
    inside = policy.expert.forward

    def spy(x, time, prefix):
        seen.append((x.clone(), time.clone()))
        return inside(x, time, prefix)

    policy.expert.forward = spy
    found = policy.act(observation(), seeded(), previous, RtcConfig('trained'))
    np.testing.assert_allclose(found[:4], previous.actions[:4], atol=1e-6)
    state = torch.as_tensor(observation().state, dtype=torch.float32)[None]
    clean = policy.normalize_actions(torch.as_tensor(previous.actions[None], dtype=torch.float32), state)
    assert len(seen) == policy.config.denoise_steps
    for i, (x, time) in enumerate(seen):
        torch.testing.assert_close(x[:, :4], clean[:, :4])  # given clean in every step
        assert not time[:, :4].any()
        torch.testing.assert_close(time[:, 4:], torch.full((1, H - 4), 1 - i / len(seen)))


def test_trained_refuses_a_longer_delay_than_it_knows():
    policy = make_policy(max_delay=3)
    policy.act(observation(), seeded(), PreviousChunk(chunk(), 3), RtcConfig('trained'))
    with pytest.raises(ValueError, match=r'delay of 4 rows.*at most 3.*use the mode soft'):
        policy.act(observation(), seeded(), PreviousChunk(chunk(), 4), RtcConfig('trained'))


def test_relative_joints_are_anchored_at_the_present_state():
    """The same joint targets, seen from where the arm is now: never from where the chunk before began."""
    policy, previous = make_policy(max_delay=6), PreviousChunk(chunk(), 5)
    for offset in (0.0, 0.3):
        state = torch.as_tensor(observation(offset).state, dtype=torch.float32)[None]
        guidance = policy.guidance(previous, state, RtcConfig('soft'))
        back = policy.denormalize_actions(guidance.target, state)[0, :12].numpy()
        np.testing.assert_allclose(back, previous.actions, atol=1e-6)
        found = policy.act(observation(offset), seeded(), previous, RtcConfig('trained'))
        np.testing.assert_allclose(found[:5], previous.actions[:5], atol=1e-6)


def test_bad_settings_name_the_remedy():
    with pytest.raises(ValueError, match='use one of'):
        RtcConfig('firm')
    for weight in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match='positive'):
            RtcConfig('soft', weight)
    with pytest.raises(ValueError, match='finite'):
        PreviousChunk(np.full((4, A), np.nan), 0)
    with pytest.raises(ValueError, match='delay of 5 rows with 4'):
        PreviousChunk(np.zeros((4, A)), 5)


def test_what_executes_needs_no_torch():
    code = 'import sys, apprentice.policies.execution; assert "torch" not in sys.modules'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_shipped_policy_goes_on_where_it_was():
    """With soft guidance the rows of the next chunk are nearer to those of the chunk before than without."""
    policy, _ = checkpoint.load(share('weights', 'policy'))
    sizes, scale = policy.spec.cameras, policy.spec.action.std
    images = {name: np.full((*size, 3), 110, np.uint8) for name, size in sizes.items()}
    state, text = np.asarray(policy.spec.state.mean, np.float64), 'pick up the red cube'
    before = Observation(0.0, images, state, text)
    without, with_guidance = [], []
    for seed in range(8):
        rows = policy.act(before, seeded(seed))[4:]
        now = Observation(0.4, images, rows[0], text)
        previous = PreviousChunk(rows, 2)
        for distances, given in ((without, None), (with_guidance, previous)):
            found = policy.act(now, seeded(100 + seed), given, RtcConfig('soft'))
            distances.append(np.abs((found[:4] - rows) / scale).mean(1))
    without, with_guidance = np.mean(without, 0), np.mean(with_guidance, 0)
    assert np.all(with_guidance < without)
    assert np.all(with_guidance[:2] < 0.5 * without[:2])  # the rows that will be past
