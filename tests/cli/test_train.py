# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""``apprentice train``: which robot it trains for."""

import pytest

from apprentice.cli.main import main
from apprentice.cli.train_rewards import render
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec


@pytest.mark.parametrize('kind', ['bc', 'clip'])
@pytest.mark.parametrize(
    ('robot', 'message'),
    [
        ('nonesuch', "robot file 'nonesuch' does not exist; give the path of one, or one that is shipped: "),
        ('some/where.yaml', 'robot file some/where.yaml does not exist'),
    ],
)
def test_a_missing_robot_is_an_error(tmp_path, capsys, kind, robot, message):
    assert main(['train', kind, '--robot', robot, '--out', str(tmp_path / 'out')]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('robot', ['sim_humanoid', str(share('robots', 'sim_humanoid.yaml'))])
def test_a_shipped_robot_by_name_or_by_path(tmp_path, capsys, monkeypatch, robot):
    found = []

    def load(path):
        found.append(path)
        return loaded(path)

    loaded = RobotSpec.load
    monkeypatch.setattr(RobotSpec, 'load', load)
    assert main(['train', 'bc', '--robot', robot, '--data', str(tmp_path)]) == 2
    assert 'no episodes in' in capsys.readouterr().err  # past the robot file
    assert render(robot, [], [])[0] == []
    assert found == [share('robots', 'sim_humanoid.yaml')] * 2
