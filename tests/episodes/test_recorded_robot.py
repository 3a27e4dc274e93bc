# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Which robot recorded episodes are of."""

from __future__ import annotations

import dataclasses

import pytest

from apprentice.episodes.episode_writer import write_episode
from apprentice.episodes.facts import recorded_robot
from apprentice.robot.parts import share


def test_the_robot_in_the_log_unless_one_is_named(episode, spec, tmp_path):
    text = share('robots', 'sim_arm.yaml').read_text().replace('control_hz: 20.0', 'control_hz: 25.0')
    write_episode(tmp_path / 'run' / 'episodes' / 'b.mcap', episode, spec, text)
    (tmp_path / 'run' / 'episodes' / 'a.mcap').write_bytes(b'not a log')  # the first by name
    assert recorded_robot([tmp_path / 'run']).control_hz == 25.0
    assert recorded_robot([tmp_path / 'run', tmp_path], 'franka_fr3').name == 'franka_fr3'
    with pytest.raises(FileNotFoundError, match='nobody'):
        recorded_robot([tmp_path / 'run'], 'nobody')


def test_a_log_that_only_names_its_robot(episode, spec, tmp_path):
    other = dataclasses.replace(spec, name='panda_robotiq')
    write_episode(tmp_path / 'a.mcap', dataclasses.replace(episode, robot='panda_robotiq'), other)
    assert recorded_robot([tmp_path]).joint_names != spec.joint_names
    assert recorded_robot([tmp_path]).name == 'panda_robotiq'


def test_a_log_of_a_robot_that_nobody_knows_says_what_to_do(episode, spec, tmp_path):
    other = dataclasses.replace(spec, name='mine')
    write_episode(tmp_path / 'a.mcap', dataclasses.replace(episode, robot='mine'), other)
    with pytest.raises(FileNotFoundError, match=r"robot 'mine' .* pass --robot FILE"):
        recorded_robot([tmp_path])


def test_without_logs_it_is_the_simulated_arm(tmp_path):
    assert recorded_robot([tmp_path]).name == 'sim_arm'
    assert recorded_robot([]).name == 'sim_arm'
