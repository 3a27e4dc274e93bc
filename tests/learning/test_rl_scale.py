# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Rollouts in lanes and through Ray are the same rollouts; the gradient of two processes is that of one."""

from __future__ import annotations

import dataclasses
import importlib.util
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from clone_rig import process_environment, torchrun
from point_mass import PointMass, random_walker
from safetensors.torch import load_file

from apprentice.learning.distributed import Ranks
from apprentice.learning.rl.engine import Lane, LaneSetup, LocalEngine, split
from apprentice.learning.rl.flow_ppo import FlowPpo, FlowPpoConfig
from apprentice.learning.rl.fpo import Fpo, FpoConfig
from apprentice.learning.rl.grpo import Grpo, GrpoConfig
from apprentice.learning.rl.rl_config import RlConfig
from apprentice.learning.rl.rollout import RewardConfig, collect
from apprentice.learning.rl.train import lane_setup
from apprentice.policies import checkpoint
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.sim.rollout import RolloutConfig

SEEDS = [5, 5, 6, 7, 8]
REWARDS = RewardConfig(progress=0.5, gamma=0.95)
ONE = {'epochs': 1, 'minibatches': 1}
UPDATES = {
    'flow_ppo': (FlowPpo, FlowPpoConfig(**ONE)),
    'grpo': (Grpo, GrpoConfig(reference_weight=0.1, **ONE)),
    'fpo': (Fpo, FpoConfig(**ONE)),
}


def gradients(name: str, ranks: Ranks | None = None) -> dict[str, torch.Tensor]:
    """Of one update on this process' share of 24 episodes of different lengths."""
    torch.set_num_threads(1)
    ranks = ranks or Ranks()
    kind, config = UPDATES[name]
    policy = random_walker()
    torch.nn.init.normal_(policy.expert.leave.weight, std=0.2, generator=torch.Generator().manual_seed(0))
    algorithm = kind(policy, config, 4, 0, ranks)
    seeds = [i for i in range(12) for _ in range(2)]
    episodes = collect(PointMass(24), seeds, policy, algorithm.actor, RolloutConfig(execute_steps=4), REWARDS)
    if name == 'fpo':  # its draws are a process' own: take those of the whole
        algorithm.generator.manual_seed(0)
        whole = algorithm.prepare(episodes)[0]
        ends = [0, *np.cumsum([len(episode) for episode in episodes])]
        mine = range(24)[ranks.share(24)]
        rows = slice(int(ends[mine.start]), int(ends[mine.stop]))

        def remember(macros):
            macros.noise, macros.time = whole.noise[rows], whole.time[rows]
            macros.old = algorithm.module.losses(macros)

        algorithm.remember = remember
    assert len({len(episode) for episode in episodes}) > 1
    algorithm.update(episodes[ranks.share(24)])
    return {
        name: parameter.grad.clone()
        for name, parameter in algorithm.module.named_parameters()
        if parameter.grad is not None
    }


@pytest.fixture(scope='module')
def two(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('two')
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    script = str(Path(__file__).with_name('rl_in_two.py'))
    environment = process_environment()
    environment['PYTHONPATH'] += f':{Path(__file__).parents[1]}'
    done = subprocess.run(
        torchrun(2, port, script, str(folder)), env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.mark.xdist_group('rl_in_two')
@pytest.mark.parametrize('name', UPDATES)
def test_two_processes_make_the_gradient_of_one(name, two):
    """Advantages are normalised over all of them, losses divided by what all have."""
    theirs, mine = load_file(two / f'{name}.safetensors'), gradients(name)
    assert theirs.keys() == mine.keys()
    size = torch.cat([gradient.flatten() for gradient in mine.values()]).norm()
    assert float(size) > 1e-3
    for key, gradient in mine.items():
        torch.testing.assert_close(theirs[key], gradient, rtol=1e-3, atol=2e-5 * float(size), msg=f'{key}')


@pytest.fixture(scope='module')
def setup() -> LaneSetup:
    """The arm for 0.8 s: two chunks."""
    config = RlConfig(together=2, max_duration_s=0.8, rewards=REWARDS)
    robot = RobotSpec.load(share('robots', 'sim_arm.yaml'))
    return lane_setup(share('weights', 'policy'), robot, config)


@pytest.fixture(scope='module')
def trainer(setup) -> FlowPpo:
    """Its expert is not that of the folder any more."""
    policy, _ = checkpoint.load(setup.policy)
    with torch.no_grad():
        policy.expert.leave.bias += 0.2
    return FlowPpo(policy, setup.settings, 4)


@pytest.fixture(scope='module')
def reference(setup, trainer) -> list:
    """What one lane in this process does."""
    lane = Lane(setup, trainer.policy, trainer.actor)
    try:
        return lane.collect(SEEDS, 3)
    finally:
        lane.close()


def assert_same(found: list, expected: list) -> None:
    assert [(e.seed, e.repeat) for e in found] == [(5, 0), (5, 1), (6, 0), (7, 0), (8, 0)]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.action, other.action, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(one.chain.after, other.chain.after, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(one.reward, other.reward, atol=1e-4, rtol=0)
        assert torch.equal(one.rows, other.rows)


def test_lanes_do_what_one_does(setup, trainer, reference):
    engine = LocalEngine(setup, trainer.policy, trainer.actor, 2)
    try:
        found = engine.collect(trainer.actor, SEEDS, 3)
        processes = [psutil.Process(worker[0].pid) for worker in engine._workers]
        engine._workers[0][0].kill()
        with pytest.raises(RuntimeError, match='lane 0 died'):
            engine.collect(trainer.actor, SEEDS, 3)
    finally:
        engine.close()
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive
    assert_same(found, reference)
    # the two tries of one start see the same and draw other noise
    torch.testing.assert_close(found[0].feature[0], found[1].feature[0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found[0].action[0], found[1].action[0])


@pytest.mark.timeout(180)
def test_actors_of_ray_do_what_one_lane_does(setup, trainer, reference):
    """With the trainer's weights, which are not those of the folder; nothing listens beyond this machine."""
    if importlib.util.find_spec('ray') is None:  # not imported: it would not stay on the loopback then
        pytest.skip("needs pip install 'apprentice[ray]'")
    from apprentice.learning.rl.ray_engine import RayEngine

    before = {process.pid for process in psutil.Process().children(recursive=True)}
    engine = RayEngine(setup, 1)
    try:
        found = engine.collect(trainer.actor, SEEDS, 3)
        started = [p for p in psutil.Process().children(recursive=True) if p.pid not in before]
        listening = [c.laddr.ip for p in started for c in p.net_connections('inet') if c.status == 'LISTEN']
    finally:
        engine.close()
    assert_same(found, reference)
    assert listening
    assert set(listening) <= {'127.0.0.1', '::1', '::ffff:127.0.0.1'}, listening


def test_without_ray_the_error_names_the_extra(setup):
    code = (
        'import sys; sys.modules["ray"] = None\n'
        'from apprentice.learning.rl.ray_engine import start\n'
        'try: start(1)\n'
        'except ImportError as error: print(error)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert "pip install 'apprentice[ray]'" in done.stdout, done.stderr


def test_tries_of_a_start_stay_together():
    assert split([1, 1, 2, 2, 3, 3], 2) == [[1, 1, 3, 3], [2, 2]]
    assert split([4], 3) == [[4], [], []]
    with pytest.raises(ValueError, match='follow each other'):
        split([1, 2, 1], 2)


def test_rewards_of_a_rollout_by_hand():
    """The potential telescopes: what is left is the success, discounted to the row that it came in."""
    policy = random_walker()
    actor = FlowPpo.make_actor(policy, FlowPpoConfig(), 4)
    episodes = collect(PointMass(16), range(64), policy, actor, RolloutConfig(execute_steps=4), REWARDS)
    assert {episode.success for episode in episodes} == {True, False}
    for episode in episodes:
        rows = int(episode.rows.sum())
        expected = 0.95 ** (rows - 1) if episode.success else 0.0
        assert episode.score == pytest.approx(expected, abs=1e-5)
        assert float(episode.discount[-1]) == 0
        torch.testing.assert_close(episode.discount[:-1], 0.95 ** episode.rows[:-1].float())
        assert episode.feature[:, -1].tolist() == pytest.approx([4 * k / 12 for k in range(len(episode))])
    one = collect(PointMass(1), range(64), policy, actor, RolloutConfig(execute_steps=4), REWARDS)
    for first, second in zip(one, episodes, strict=True):  # whatever runs beside it
        torch.testing.assert_close(first.action, second.action, atol=1e-5, rtol=1e-5)


def test_an_episode_that_diverged_is_left_out():
    class Diverging(PointMass):
        def step(self, targets, duration_s, sims=None):
            super().step(targets, duration_s, sims)
            self.failed[0] = True

        def reset(self, sims, seeds, instruction=''):
            self.failed[list(sims)] = False
            return super().reset(sims, seeds, instruction)

    policy = random_walker()
    actor = FlowPpo.make_actor(policy, FlowPpoConfig(), 4)
    found = collect(
        Diverging(2), [1, 2], policy, actor, dataclasses.replace(RolloutConfig(), execute_steps=4)
    )
    assert [episode.seed for episode in found] == [2]
