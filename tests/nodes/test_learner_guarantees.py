# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the learner guarantees where processes are needed, by number; the rest: tests/learning."""

from __future__ import annotations

import dataclasses
import signal
import time

import numpy as np
import pytest
import torch
from apprentice_interfaces.msg import ControlState, LearnerStatus, WeightsAck, WeightsVersion
from std_srvs.srv import Trigger
from test_learner_node import ROBOT, SPEC, make_episode
from test_policy_node import Rig

from apprentice.episodes.episode_writer import write_episode
from apprentice.learning import snapshot
from apprentice.learning.dataset import policy_spec
from apprentice.learning.learner import Learner
from apprentice.nodes import qos
from apprentice.nodes.policy_weights import PolicyWeights
from apprentice.policies import checkpoint
from apprentice.policies.backbones.tiny import TinyConfig
from apprentice.policies.config import PolicyConfig
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.rtc import RtcConfig
from apprentice.robot.types import Observation, Outcome, Source

CONFIG = PolicyConfig(backbone=TinyConfig(width=32, layers=1, heads=2, channels=(8, 8, 16)))


@pytest.fixture
def starter(tmp_path):
    torch.manual_seed(0)
    spec = policy_spec([make_episode(i) for i in range(4)], SPEC, 8)
    checkpoint.save(FlowPolicy(spec, CONFIG), tmp_path / 'starter', {'name': 'test'})
    return tmp_path / 'starter'


def options(**parameters) -> list[str]:
    words = [f'{name}:={value}' for name, value in {'robot': ROBOT, **parameters}.items()]
    return [word for option in words for word in ('-p', option)]


SMALL = {'updates_per_episode': 4, 'publish_every': 4, 'batch': 8}


def action(policy) -> np.ndarray:
    """On a fixed observation, with fixed noise."""
    episode = make_episode(50)
    images = {name: stack[3] for name, stack in episode.images.items()}
    seen = Observation(1.0, images, episode.state[3], episode.task)
    return policy.act(seen, torch.Generator().manual_seed(5))


@pytest.mark.timeout(400)
def test_4_the_node_goes_on_after_kill_9(ros, start_node, starter, tmp_path):
    """At random moments, while it publishes one version after the other."""
    run, rng, steps, known = tmp_path / 'run', np.random.default_rng(5), 0, 0
    busy = {'updates_per_episode': 60, 'publish_every': 2, 'batch': 8}
    arguments = options(run_dir=run, weights=starter, **busy)
    weights: list[WeightsVersion] = []
    ros.node.create_subscription(WeightsVersion, 'learner/weights', weights.append, qos.STATE)
    for episodes in (2, 3, 4):
        for number in range(episodes):
            if not (run / 'episodes' / f'episode-{number:04d}.mcap').exists():
                write_episode(run / 'episodes', make_episode(number), SPEC)
        process = start_node('learner', *arguments)
        wanted = known + int(rng.integers(1, 4))
        assert ros.spin_until(lambda wanted=wanted: weights and weights[-1].version >= wanted, 100.0), (
            process.output()
        )
        time.sleep(rng.uniform(0.0, 0.2))
        process.popen.kill()
        process.popen.wait()
        snapshot.newest(run / 'learner')  # raises where none can be read
        assert not (run / '.learner.damaged').exists()
        learner = Learner(SPEC, run, starter)
        assert learner.algorithm.steps > steps
        steps = learner.algorithm.steps
        store = learner.store
        known = store.versions()[-1]  # on disk: the last ones may have been published after the last message
        same = [v for v in store.versions() if store.describe(v).about['train_steps'] == steps]
        published, _ = checkpoint.load(store.folder(same[-1]))
        np.testing.assert_allclose(action(learner.acting()), action(published), atol=1e-6)
        assert learner.owed + steps == 60 * learner.episodes
        learner.ingest()
        assert learner.episodes == episodes  # none twice


@pytest.mark.timeout(400)
def test_5_6_7_10_a_robot_acts_whatever_becomes_of_the_learner(ros, start_node, starter, tmp_path):
    run = tmp_path / 'run'
    status: list[LearnerStatus] = []
    ros.node.create_subscription(LearnerStatus, 'learner/status', status.append, qos.LOG)
    policy = start_node('policy', *options(weights=starter, lockstep='true'))
    rig = Rig(ros)
    assert ros.spin_until(rig.connected, 100.0), policy.output()
    learner = start_node('learner', *options(run_dir=run, weights=starter, **SMALL))

    def planned() -> int:  # as it says itself: a chunk that is delivered late has expired
        return int(rig.status.get('chunks', 0))

    def plans() -> bool:
        count, end = planned(), time.monotonic() + 60.0
        while planned() == count and time.monotonic() < end:
            rig.sense()
        return planned() > count

    rig.control(ControlState.POLICY, 2)
    assert plans(), policy.output()
    for number in range(2):
        write_episode(run / 'episodes', make_episode(number), SPEC)
    assert ros.spin_until(lambda: status and status[-1].version == 2, 100.0), learner.output()
    # 6: what acts is known
    assert ros.spin_until(lambda: status[-1].acknowledged_version == 2, 60.0), status[-1]
    assert plans(), rig.status
    assert rig.status['weights_version'] == '2'
    # 5: back with one call, to what acts as version 1 did
    rollback = ros.node.create_client(Trigger, 'learner/rollback')
    assert ros.call(rollback, Trigger.Request(), 60.0).success
    assert ros.spin_until(lambda: status[-1].acknowledged_version == 3, 60.0), policy.output()
    one, three = (checkpoint.load(run / 'weights' / f'v00000{v}')[0] for v in (1, 3))
    np.testing.assert_allclose(action(three), action(one), atol=0)
    # 10: numbers that no arm makes stop learning until a person has looked
    broken = make_episode(2)
    broken.action[3, 2] = 1e6
    write_episode(run / 'episodes', broken, SPEC)
    assert ros.spin_until(lambda: bool(status[-1].alarm), 60.0), learner.output()
    assert 'episode-0002: 1 of 12 steps' in status[-1].alarm
    assert status[-1].phase == 'paused'
    assert status[-1].quarantined == 12
    steps = status[-1].train_steps
    write_episode(run / 'episodes', make_episode(3), SPEC)
    assert ros.spin_until(lambda: status[-1].episodes == 3, 60.0)
    assert status[-1].train_steps == steps
    clear = ros.node.create_client(Trigger, 'learner/clear_alarm')
    answer = ros.call(clear, Trigger.Request(), 60.0)
    assert answer.success
    assert 'episode-0002' in answer.message
    assert ros.spin_until(lambda: status[-1].train_steps == steps + 4, 60.0), status[-1]
    assert not status[-1].alarm
    # 7: a learner that hangs, and then is dead, stops nobody
    learner.popen.send_signal(signal.SIGSTOP)
    assert plans()
    learner.popen.send_signal(signal.SIGCONT)
    learner.popen.kill()
    learner.popen.wait()
    assert plans()
    assert int(rig.status['weights_version']) >= 3
    assert policy.stop() == 0


@pytest.mark.timeout(400)
def test_one_learner_for_two_robots(ros, start_node, starter, tmp_path):
    """Two namespaces: episodes of both are learned from, weights go to both, the weak one is drawn more."""
    runs = {name: tmp_path / name for name in ('left', 'right')}
    arguments = options(
        run_dir=tmp_path / 'learner', weights=starter, robots="['/left', '/right']",
        run_dirs=f"['{runs['left']}', '{runs['right']}']", **SMALL,
    )  # fmt: skip
    status: list[LearnerStatus] = []
    acks: dict[str, list[WeightsAck]] = {name: [] for name in runs}
    weights: dict[str, list[WeightsVersion]] = {name: [] for name in runs}
    ros.node.create_subscription(LearnerStatus, 'right/learner/status', status.append, qos.LOG)
    for name in runs:
        ros.node.create_subscription(WeightsAck, f'{name}/policy/weights_ack', acks[name].append, qos.STATE)
        ros.node.create_subscription(
            WeightsVersion, f'{name}/learner/weights', weights[name].append, qos.STATE
        )
    policies = [start_node('policy', '-r', f'__ns:=/{name}', *options(weights=starter)) for name in runs]
    learner = start_node('learner', *arguments)
    for number in range(2):
        for name, run in runs.items():  # both have an episode of this name
            episode = make_episode(number)
            if name == 'right':
                episode.source[:] = int(Source.POLICY)
                episode = dataclasses.replace(episode, outcome=Outcome.FAILURE)
            write_episode(run / 'episodes', episode, SPEC)
    assert ros.spin_until(lambda: status and status[-1].version == 4, 150.0), learner.output()
    assert status[-1].episodes == 4
    for policy, name in zip(policies, runs):
        assert ros.spin_until(lambda name=name: acks[name] and acks[name][-1].active_version == 4, 60.0), (
            policy.output()
        )
        assert weights[name][-1].version == 4
    assert ros.spin_until(lambda: status[-1].acknowledged_version == 4, 10.0)
    assert learner.stop() == 0
    again = Learner(SPEC, tmp_path / 'learner', starter, robots=runs)
    assert (again.episodes, again.algorithm.steps, again.ingest()) == (4, 16, [])
    shares = again.replay.shares
    assert shares['right'] > shares['left'] > 0.2


def test_robots_without_folders_name_the_remedy(start_node, starter, tmp_path):
    process = start_node('learner', *options(run_dir=tmp_path, weights=starter, robots="['/left']"))
    assert process.popen.wait(100) == 2
    assert 'a run folder for each' in process.output()


def test_5_the_policy_refuses_weights_that_jump_and_takes_a_rollback(ros, starter, tmp_path):
    first, _ = checkpoint.load(starter)
    with torch.no_grad():
        first.expert.leave.bias += 50.0
    jumped = checkpoint.save(first, tmp_path / 'v1', {})
    with torch.no_grad():
        first.expert.leave.bias -= 50.0
    same = checkpoint.save(first, tmp_path / 'v2', {})
    acks: list[WeightsAck] = []
    ros.node.create_subscription(WeightsAck, 'policy/weights_ack', acks.append, qos.STATE)
    weights = PolicyWeights(ros.node, SPEC, 'torch', {}, 4, RtcConfig('none'), lambda: None)
    weights.start(str(starter))
    episode = make_episode(50)
    images = {name: stack[3] for name, stack in episode.images.items()}
    weights.observation = Observation(1.0, images, episode.state[3], episode.task)

    def offer(folder: str, digest: str, version: int, parent: int) -> WeightsAck:
        count = len(acks)
        weights._on_offer(
            WeightsVersion(version=version, parent=parent, uri=str(tmp_path / folder), sha256=digest)
        )
        assert ros.spin_until(lambda: weights.waiting, 30.0)
        weights.swap()  # as the planner does between two chunks
        assert ros.spin_until(lambda: len(acks) > count, 30.0)
        return acks[-1]

    refused = offer('v1', jumped, 1, parent=0)
    assert (refused.ok, refused.active_version) == (False, 0)
    assert 'standard deviations, 10 are allowed' in refused.reason
    assert offer('v2', same, 1, parent=0).active_version == 1
    assert offer('v1', jumped, 3, parent=0).active_version == 3  # a person's rollback is not argued with
    weights.close()
