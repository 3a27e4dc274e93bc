# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The learner's process: learns from sealed files, survives kill -9, offers verified weights."""

from pathlib import Path

import numpy as np
import psutil
import torch
from apprentice_interfaces.msg import LearnerStatus, RewardHealth, WeightsVersion
from std_srvs.srv import SetBool, Trigger

from apprentice.episodes.episode_writer import write_episode
from apprentice.learning.dataset import policy_spec
from apprentice.learning.learner import Learner
from apprentice.nodes import qos
from apprentice.policies import checkpoint
from apprentice.policies.backbones.tiny import TinyConfig
from apprentice.policies.config import PolicyConfig
from apprentice.policies.policy import FlowPolicy
from apprentice.reward_models.evaluation.verdict import Verdict, write
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome, Reward, RewardKind, Source

ROBOT = share('robots', 'sim_arm.yaml')
SPEC = RobotSpec.load(ROBOT)


def make_episode(number: int) -> Episode:
    rng = np.random.default_rng(number)
    length = 12
    state = SPEC.vector('home') + rng.normal(0, 0.02, (length, 7))
    state = np.clip(state, SPEC.vector('lower'), SPEC.vector('upper')).astype(np.float32)
    return Episode(
        episode_id=f'episode-{number:04d}',
        task='pick up the red cube',
        seed=number,
        outcome=Outcome.SUCCESS,
        end_cause=2,
        eval_only=False,
        stamps=100.0 * (number + 1) + 0.1 * np.arange(length),
        images={c.name: rng.integers(0, 255, (length, 64, 64, 3), dtype=np.uint8) for c in SPEC.cameras},
        state=state,
        action=(state + rng.normal(0, 0.02, state.shape)).astype(np.float32),
        source=np.full(length, int(Source.HUMAN), np.uint8),
        takeover_id=np.zeros(length, np.int64),
        robot='sim_arm',
        rewards=[Reward(t, t, RewardKind.ABS_PROGRESS, 0.5, progress=0.5, model='critic', version='1')
                 for t in 100.0 * (number + 1) + 0.1 * np.arange(length)],
    )  # fmt: skip


def test_learner_node(ros, start_node, tmp_path):
    torch.manual_seed(0)
    config = PolicyConfig(backbone=TinyConfig(width=32, layers=1, heads=2, channels=(8, 8, 16)))
    spec = policy_spec([make_episode(i) for i in range(4)], SPEC, 8)
    checkpoint.save(FlowPolicy(spec, config), tmp_path / 'starter', {'name': 'test'})
    run_dir = tmp_path / 'run'
    options = [f'robot:={ROBOT}', f'run_dir:={run_dir}', f'weights:={tmp_path / "starter"}']
    options += ['updates_per_episode:=4', 'publish_every:=4', 'batch:=8']
    arguments = [word for option in options for word in ('-p', option)]

    status: list[LearnerStatus] = []
    weights: list[WeightsVersion] = []
    ros.node.create_subscription(LearnerStatus, 'learner/status', status.append, qos.LOG)
    ros.node.create_subscription(WeightsVersion, 'learner/weights', weights.append, qos.STATE)
    pause = ros.node.create_client(SetBool, 'learner/pause')
    rollback = ros.node.create_client(Trigger, 'learner/rollback')

    process = start_node('learner', *arguments)
    assert ros.spin_until(lambda: status, 60.0), process.output()
    assert psutil.Process(process.popen.pid).nice() >= 10  # control goes first
    group = Path(f'/proc/{process.popen.pid}/autogroup')
    if group.exists():  # the kernel shares the cores between sessions first
        assert group.read_text().endswith('nice 10\n')
    assert ros.call(pause, SetBool.Request(data=True)).success
    for number in range(2):
        write_episode(run_dir / 'episodes', make_episode(number), SPEC)
    assert ros.spin_until(lambda: status[-1].phase == 'paused', 20.0)
    ros.spin_until(lambda: False, 1.2)
    assert not weights  # paused means paused
    assert ros.call(pause, SetBool.Request(data=False)).success
    # of the latched topic the newest counts: the first may have been replaced before it was heard
    assert ros.spin_until(lambda: weights and weights[-1].version == 2, 60.0), process.output()
    policy, manifest = checkpoint.load(weights[-1].uri, weights[-1].sha256)
    policy.spec.require(SPEC)
    assert weights[-1].parent == 1
    assert manifest['about']['episodes'] == 2
    alone = lambda: any('the policy acts alone' in each.message for each in status)  # noqa: E731
    assert ros.spin_until(alone, 20.0), status[-1:]  # 24 steps are few for critics

    process.popen.kill()
    process.popen.wait()
    write_episode(run_dir / 'episodes', make_episode(2), SPEC)
    status.clear()
    again = start_node('learner', *arguments)
    # the known episodes are not learned twice, the new one is; versions go on
    assert ros.spin_until(lambda: weights[-1].version == 3, 60.0), again.output()
    assert ros.spin_until(lambda: status and status[-1].train_steps == 12, 30.0), status[-1:]
    assert status[-1].episodes == 3
    # a reward model that nobody trusts stops it, until the level falls again
    health = ros.node.create_publisher(RewardHealth, 'reward/health', qos.HEALTH)
    health.publish(RewardHealth(model='critic', version='1', level=RewardHealth.STOP, reason='false_success'))
    assert ros.spin_until(lambda: status[-1].phase == 'paused', 30.0)
    assert 'critic: false_success' in status[-1].message
    write_episode(run_dir / 'episodes', make_episode(3), SPEC)
    assert ros.spin_until(lambda: status[-1].episodes == 4, 30.0)  # it still reads what comes
    assert (status[-1].phase, status[-1].train_steps) == ('paused', 12)
    health.publish(RewardHealth(model='critic', version='1', level=RewardHealth.SPARSE))
    assert ros.spin_until(lambda: status[-1].train_steps == 16 and weights[-1].version == 4, 60.0)
    answer = ros.call(rollback, Trigger.Request())
    assert answer.success
    assert ros.spin_until(lambda: weights[-1].version == 5 and weights[-1].policy_id == 'rollback to 3', 30.0)
    assert again.stop() == 0


def test_a_restart_after_the_reward_model_was_refused_reports_an_error(ros, start_node, tmp_path):
    torch.manual_seed(0)
    config = PolicyConfig(backbone=TinyConfig(width=32, layers=1, heads=2, channels=(8, 8, 16)))
    checkpoint.save(FlowPolicy(policy_spec([make_episode(0)], SPEC, 8), config), tmp_path / 'starter')
    learner = Learner(SPEC, tmp_path / 'run', tmp_path / 'starter')
    write_episode(tmp_path / 'run' / 'episodes', make_episode(0), SPEC)
    learner.ingest()
    learner.save()
    numbers, rivals = {'auroc': 0.4}, {'clock': {'auroc': 0.5}, 'cosine': {}}
    write(Verdict('critic', '1', '', '2026-01-01', 'simulator', {}, numbers, rivals), [tmp_path / 'verdicts'])
    status: list[LearnerStatus] = []
    ros.node.create_subscription(LearnerStatus, 'learner/status', status.append, qos.LOG)
    options = [f'robot:={ROBOT}', f'run_dir:={tmp_path / "run"}', f'weights:={tmp_path / "starter"}']
    options.append('recipe:=weighted_flow')
    arguments = [word for option in options for word in ('-p', option)]
    process = start_node('learner', *arguments, environment={'APPRENTICE_CACHE': str(tmp_path)})
    assert ros.spin_until(lambda: status and status[-1].phase == 'error', 60.0), process.output()
    assert 'auroc 0.400, clock 0.500' in status[-1].message
    assert process.stop() == 0


def test_wrong_weights_end_with_cause_and_remedy(start_node, tmp_path):
    process = start_node(
        'learner', '-p', f'robot:={ROBOT}', '-p', f'weights:={tmp_path}', '-p', f'run_dir:={tmp_path}'
    )
    assert process.popen.wait(60) == 2
    assert 'apprentice train bc' in process.output()
