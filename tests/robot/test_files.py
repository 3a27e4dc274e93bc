# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Files that are there whole or not at all, and weights and robot files by path or by name."""

import pytest

from apprentice.robot.files import replacing
from apprentice.robot.parts import find_robot, find_weights, share


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / 'result.json'
    path.write_text('old')
    with replacing(path) as temporary:
        temporary.write_text('new')
        assert path.read_text() == 'old'
    assert path.read_text() == 'new'
    with pytest.raises(OSError, match='disk'):
        _fail_halfway(path)
    assert path.read_text() == 'new'
    assert list(tmp_path.iterdir()) == [path]


def _fail_halfway(path):
    with replacing(path) as temporary:
        temporary.write_text('half')
        raise OSError('disk full')


def test_weights_by_path_or_shipped_name(tmp_path, monkeypatch):
    assert find_weights('policy') == share('weights', 'policy')
    assert find_weights(str(tmp_path / 'mine')) == tmp_path / 'mine'
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'policy').mkdir()
    assert find_weights('policy').resolve() == tmp_path / 'policy'  # a folder here comes first
    with pytest.raises(FileNotFoundError, match='not installed'):
        find_weights('nonesuch')


def test_robot_files_by_path_or_shipped_name(tmp_path, monkeypatch):
    arm = share('robots', 'sim_arm.yaml')
    assert find_robot('sim_arm') == find_robot('sim_arm.yaml') == find_robot(str(arm)) == arm
    assert find_robot(str(tmp_path / 'mine.yaml')) == tmp_path / 'mine.yaml'
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'sim_arm').mkdir()  # a folder is no robot file
    assert find_robot('sim_arm') == arm
    (tmp_path / 'sim_arm.yaml').touch()
    assert find_robot('sim_arm.yaml').resolve() == tmp_path / 'sim_arm.yaml'
    with pytest.raises(FileNotFoundError, match=r'nonesuch.*shipped: .*sim_arm, sim_humanoid'):
        find_robot('nonesuch')
