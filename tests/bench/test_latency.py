# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The latency bench: its rows, its arithmetic on logs whose answer is known, and the nodes it runs."""

import argparse
import ast
import math
import random
import sys

import numpy as np
import pytest
import torch
import yaml

from apprentice.bench import environments, latency, latency_driver, runner
from apprentice.bench.latency_act import load
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Observation

PERIOD = 0.02


def peer_functions(*names):
    """Functions of the peer's script, which only LeRobot's environment can import."""
    tree = ast.parse((environments.PEERS / 'lerobot_async.py').read_text())
    tree.body = [node for node in tree.body if getattr(node, 'name', '') in names]
    scope = {'random': random, 'math': math}
    exec(compile(tree, 'lerobot_async.py', 'exec'), scope)
    return [scope[name] for name in names]


def commands(answers, end=8.0):
    """50 Hz commands that hold the value of the newest of ``answers`` (time, value)."""
    times = np.arange(0.0, end, PERIOD)
    return [(float(t), [value for since, value in answers if since <= t + 1e-9][-1]) for t in times]


@pytest.fixture(params=['ours', 'peer'])
def reactions(request):
    return latency.reactions if request.param == 'ours' else peer_functions('reactions')[0]


def test_the_first_command_that_follows_a_change(reactions):
    changes = [(2.003, 1), (4.003, -1), (6.003, 1)]
    log = commands([(0.0, -1.0), (2.1, 1.0), (4.3, -1.0), (6.06, 1.0)])
    assert reactions(changes, log, 0.1) == [pytest.approx(x, abs=1e-6) for x in (0.097, 0.297, 0.057)]


def test_what_is_left_of_a_motion_is_no_reaction(reactions):
    # LeRobot averages: 70 % of the way at once, the rest with a later plan, here after the next change
    changes = [(2.003, 1), (4.003, -1)]
    log = commands([(0.0, -1.0), (2.5, 0.4), (4.2, 0.82), (4.5, -0.454), (5.3, -0.84)])
    assert reactions(changes, log, 0.1) == [pytest.approx(0.497), pytest.approx(0.497)]
    # nor is a tremble below the least, or an answer that comes after the next change
    shaking = commands([(0.0, -1.0), (2.2, -0.95), (3.0, 1.0), (7.0, -1.0)])
    assert reactions([(2.003, 1), (4.003, -1), (6.003, 1)], shaking, 0.1)[:2] == [pytest.approx(0.997), None]


def test_both_see_the_same_changes():
    (theirs,) = peer_functions('flips')
    ours = latency_driver.flips(100.0, 130.0, *latency.FLIP_S)
    assert ours == theirs(100.0, 130.0, *latency.FLIP_S)
    assert 10 <= len(ours) <= 20
    assert ours[-1] <= 130.0 - latency.FLIP_S[0]
    assert all(1.5 <= b - a <= 2.5 for a, b in zip([100.0, *ours], ours))


def test_summary():
    log = latency_driver.Log(begun=1.0, ended=8.0, plans=[0.05, 0.04, 0.06])
    log.changes = [(2.003, 1), (4.003, -1), (6.003, 1)]
    log.commands = commands([(0.0, -1.0), (2.1, 1.0), (6.06, 1.5)])
    moment, value = log.commands[100]
    log.commands[100] = (moment + 0.004, value)  # late by 4 ms
    row = latency.summary(log)
    assert row['value'] == pytest.approx((97 + 57) / 2, abs=1e-3)
    assert row['also']['answered %'] == pytest.approx(200 / 3)
    assert row['also']['slowest ms'] == pytest.approx(97, abs=1e-3)
    assert row['also']['command Hz'] == pytest.approx(50.0, rel=1e-3)
    assert row['also']['plan ms'] == pytest.approx(50.0)
    assert row['also']['plans/s'] == pytest.approx(3 / 7)
    assert 0 < row['also']['jitter p99 ms'] <= 4.0 + 1e-6
    log.commands = commands([(0.0, -1.0)])
    with pytest.raises(ValueError, match='no command followed any of 3 changes'):
        latency.summary(log)


def test_rows_and_ratios():
    parser = argparse.ArgumentParser()
    latency.add_arguments(parser)
    (case,) = latency.cases(argparse.Namespace(seconds=0.5, **vars(parser.parse_args([]))))
    rows = {contestant.name: contestant for contestant in case.contestants}
    assert len(rows) == len(case.contestants)
    assert case.lower_is_better
    for ratio in case.ratios:
        assert rows[ratio.ours].kind == runner.OURS
        assert rows[ratio.peer].peer == 'lerobot_async'
        assert ratio.target == 2.0
    tuned = rows['LeRobot, 50 fps, after 4 rows'].parameters
    assert tuned['chunk_size_threshold'] == pytest.approx(46 / 50)
    assert 'chunk_size_threshold' not in rows['LeRobot, 30 fps, after 25 rows'].parameters
    # every row gets the same policy, picture, camera and changes
    for name in ('policy', 'size', 'camera_hz', 'sway_deg', 'flip_s', 'seconds'):
        assert len({str(row.parameters[name]) for row in rows.values()}) == 1
    assert RobotSpec.from_dict(latency_driver.robot_file(64, 50.0, 50.0, 0.1)).cameras[0].width == 64


def test_without_peers_and_without_a_policy_it_says_what_to_do(tmp_path):
    with pytest.raises(environments.PeerError, match='run once without --no-peers'):
        latency._make_policy(tmp_path / 'act', {}, peers=False)


class Bright(torch.nn.Module):
    """Stands where the peer's ACT stands: rows of 1 degree for a bright picture, else of -1.

    For 4 s: so long may the policy node be without a processor.
    """

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.where(image.mean() > 0.5, 1.0, -1.0) * torch.ones(1, 200, 6)


@pytest.fixture
def policy(tmp_path):
    (tmp_path / 'act').mkdir()
    torch.jit.script(Bright()).save(str(tmp_path / 'act' / 'policy.pt'))
    return tmp_path / 'act'


def test_the_policy_plans_in_radians(policy, tmp_path):
    robot = tmp_path / 'robot.yaml'
    robot.write_text(yaml.safe_dump(latency_driver.robot_file(32, 50.0, 50.0, 0.02)))
    made, manifest = load(policy / 'policy.pt', robot=str(robot))
    made.spec.require(RobotSpec.load(robot))
    assert manifest['about']['name']
    for level, angle in zip(latency_driver.LEVELS, (-1.0, 1.0)):
        seen = Observation(0.0, {'front': np.full((32, 32, 3), level, np.uint8)}, np.zeros(6), 'react')
        np.testing.assert_allclose(made.act(seen), np.full((200, 6), math.radians(angle)), rtol=1e-6)
    (tmp_path / 'other.pt').write_bytes(b'nothing of the kind')
    with pytest.raises(ValueError, match='no TorchScript'):
        load(tmp_path / 'other.pt', robot=str(robot))


def test_the_nodes_react(policy, monkeypatch):
    """Real gate and policy node; the picture changes three times."""
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.delenv('ROS_DOMAIN_ID', raising=False)
    contestant = runner.Contestant(
        'nodes',
        runner.OURS,
        'apprentice.bench.latency:nodes',
        parameters={
            'policy': str(policy),
            'size': 32,
            'camera_hz': 50.0,
            'sway_deg': 20.0,
            'flip_s': (1.0, 1.1),
            'seconds': 4.4,
            'action_dt': 0.02,
            'execute_steps': 4,
        },
    )
    row = runner.measure(contestant, sys.executable, 120.0)
    # a busy machine may miss one
    assert row['also']['answered %'] > 50.0
    assert 1.0 < row['value'] < 1000.0
    assert 20.0 < row['also']['command Hz'] < 55.0  # 50 where nothing else runs
    assert row['also']['plan ms'] > 0
