# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The learner's process with a second one that shares its updates, on a real graph."""

from __future__ import annotations

import time

import psutil
import pytest
import torch
from apprentice_interfaces.msg import LearnerStatus, WeightsVersion
from test_learner_node import ROBOT, SPEC, make_episode

from apprentice.episodes.episode_writer import write_episode
from apprentice.learning.dataset import policy_spec
from apprentice.nodes import qos
from apprentice.policies import checkpoint
from apprentice.policies.backbones.tiny import TinyConfig
from apprentice.policies.config import PolicyConfig
from apprentice.policies.policy import FlowPolicy


@pytest.mark.timeout(300)
def test_two_processes_learn_and_the_end_of_one_is_told(ros, start_node, tmp_path):
    torch.manual_seed(0)
    config = PolicyConfig(backbone=TinyConfig(width=32, layers=1, heads=2, channels=(8, 8, 16)))
    spec, run_dir = policy_spec([make_episode(i) for i in range(4)], SPEC, 8), tmp_path / 'run'
    checkpoint.save(FlowPolicy(spec, config), tmp_path / 'starter', {'name': 'test'})
    options = [f'robot:={ROBOT}', f'run_dir:={run_dir}', f'weights:={tmp_path / "starter"}']
    options += ['updates_per_episode:=4', 'publish_every:=4', 'batch:=8', 'processes:=2', 'nice:=0']
    status: list[LearnerStatus] = []
    weights: list[WeightsVersion] = []
    ros.node.create_subscription(LearnerStatus, 'learner/status', status.append, qos.LOG)
    ros.node.create_subscription(WeightsVersion, 'learner/weights', weights.append, qos.STATE)
    process = start_node('learner', *(word for option in options for word in ('-p', option)))
    assert ros.spin_until(lambda: status, 100.0), process.output()
    (other,) = psutil.Process(process.popen.pid).children()
    listening = [each for each in other.net_connections() if each.status == psutil.CONN_LISTEN]
    assert all(each.laddr.ip == '127.0.0.1' for each in listening)
    before, began = sum(other.cpu_times()[:2]), time.monotonic()
    ros.spin_until(lambda: False, 2.0)
    assert sum(other.cpu_times()[:2]) - before < 0.1 * (time.monotonic() - began)  # it waits
    for number in range(2):
        write_episode(run_dir / 'episodes', make_episode(number), SPEC)
    assert ros.spin_until(lambda: weights and weights[-1].version == 2, 60.0), process.output()
    assert weights[-1].train_steps == 8
    assert weights[-1].episodes == 2
    assert sum(other.cpu_times()[:2]) > before  # it had its part
    other.kill()
    write_episode(run_dir / 'episodes', make_episode(2), SPEC)
    assert ros.spin_until(lambda: status[-1].phase == 'error', 60.0), process.output()
    assert 'another process of this training has ended' in status[-1].message
    assert 'start the learner again' in status[-1].message
    ros.spin_until(lambda: False, 2.0)
    assert (status[-1].phase, status[-1].train_steps) == ('error', 8)
    assert process.stop() == 0
