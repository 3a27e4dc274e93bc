# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The suite as a user runs it: a page with films, resumed where it stopped."""

import contextlib
import dataclasses
import json
import re
import shutil

import pytest
from PIL import Image

from apprentice.cli import eval_suite
from apprentice.cli.main import main
from apprentice.learning.suite import Attempt, Cell, SuiteConfig, cells, finished, keep, overall
from apprentice.learning.suite_page import write
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.sim.film import film
from apprentice.sim.rollout import RolloutConfig
from apprentice.sim.worlds import Worlds

ARM = RobotSpec.load(share('robots', 'sim_arm.yaml'))
_QUICK = ('--levels', 'none', '--films', '0', '--trials', '1', '--json')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A finished suite of the expert: one task, two levels, two trials."""
    out = tmp_path_factory.mktemp('suite')
    assert main(_command(out)) == 0
    return out


def _command(out) -> list[str]:
    words = 'eval suite expert --tasks reach --levels none strong --trials 2 --workers 1 --out'
    return [*words.split(), str(out)]


def test_page_shows_every_cell_and_its_film(folder):
    page = (folder / 'index.html').read_text()
    assert 'Evaluation suite: expert' in page
    assert page.count('2 of 2') >= 2
    assert 'Not finished' not in page
    sources = re.findall(r'<img src="([^"]+)"', page)
    assert len(sources) == 2
    for source in sources:
        with Image.open(folder / source) as film:
            assert film.format == 'WEBP'
            assert film.n_frames > 5
    result = json.loads((folder / 'result.json').read_text())
    assert [entry['successes'] for entry in result['overall']] == [2, 2]
    assert [attempt['seed'] for attempt in result['cells'][0]['attempts']] == [900_000, 900_001]


def test_a_finished_cell_is_not_run_again(folder, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError('ran again')

    monkeypatch.setattr(eval_suite, 'run_cell', refuse)
    assert main(_command(folder)) == 0
    with pytest.raises(AssertionError, match='ran again'):  # other starts are another cell
        main([*_command(folder), '--first-seed', '910000'])


def test_what_was_broken_or_made_otherwise_is_no_finished_cell(tmp_path):
    config = SuiteConfig('policy', ('reach',), ('none',), trials=1, weights='abc')
    (cell,) = cells(config, ARM)
    cell.attempts.append(Attempt(900_000, 'reach the red marker', True, 1.0, 2.0))
    keep(cell, tmp_path)

    def found(spec=ARM, **changes):
        return finished(cells(dataclasses.replace(config, **changes), spec)[0], tmp_path)

    assert found() == cell
    assert found(spec=ARM.with_task('reach')) == cell  # a suite's tasks take the place of the file's
    assert found(weights='abd') is None  # trained again, in a folder of the same name
    assert found(policy='expert', weights='') is None
    assert found(seed=1) is None
    assert found(spec=dataclasses.replace(ARM, action_dt=0.05)) is None
    (tmp_path / 'cells' / 'reach-none.json').write_text('{"task": ')
    assert found() is None


def test_an_unfinished_suite_says_so(tmp_path):
    config = SuiteConfig('a <b> policy', ('reach', 'pick'), ('none',), trials=4)
    done = Cell('reach', 'none', attempts=[Attempt(1, 'x', i < 1, 0.5, 8.0) for i in range(4)])
    page = write(config, [done], tmp_path).read_text()
    assert 'cells missing: 1' in page
    assert 'a &lt;b&gt; policy' in page
    assert '25 %' in page
    assert list(overall([done])) == [('none', 1, 4)]


def _measured(cell, spec, act, config, workers, count) -> None:
    """Trials at once, for what is not about them."""
    cell.attempts += [Attempt(config.first_seed + i, 'x', True, 1.0, 2.0) for i in range(config.trials)]


def test_films_that_failed_or_were_not_asked_for_are_made_later(tmp_path, monkeypatch, caplog):
    runs = []
    monkeypatch.setattr(eval_suite, 'run_cell', lambda *all: (runs.append(all[0].name), _measured(*all)))
    command = [word for word in _command(tmp_path) if word != 'strong']

    def broken(*_: object) -> None:
        raise RuntimeError('no OpenGL here')

    assert main([*command, '--films', '0']) == 0
    with monkeypatch.context() as patch:
        patch.setattr('apprentice.learning.suite.film', broken)
        assert main(command) == 0
    assert 'reach-none: not filmed: no OpenGL here' in caplog.text
    assert '<img' not in (tmp_path / 'index.html').read_text()
    assert main(command) == 0
    (source,) = re.findall(r'<img src="([^"]+)"', (tmp_path / 'index.html').read_text())
    assert runs == ['reach-none'], 'the trials were kept'
    (tmp_path / source).unlink()
    assert main(command) == 0
    assert (tmp_path / source).exists()
    assert runs == ['reach-none']


def test_a_robot_without_cameras_is_not_filmed():
    blind = dataclasses.replace(ARM, cameras=())
    with contextlib.closing(Worlds(blind)) as worlds, pytest.raises(ValueError, match='--films 0'):
        film(worlds, 0, None, RolloutConfig())


def test_a_page_is_not_overwritten_before_anything_ran(tmp_path, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(eval_suite, 'run_cell', _measured)
    command = [*_command(tmp_path), '--films', '0']
    assert main(command) == 0
    old = (tmp_path / 'index.html').read_text(), (tmp_path / 'result.json').read_text()
    monkeypatch.setattr(eval_suite, 'run_cell', stop)
    assert main([*command, '--seed', '1']) == 130
    assert ((tmp_path / 'index.html').read_text(), (tmp_path / 'result.json').read_text()) == old
    (tmp_path / 'cells' / 'reach-none.json').unlink()
    assert main(command) == 130  # with one of two cells left
    assert (tmp_path / 'index.html').read_text() == old[0]


def test_a_robot_that_no_task_is_made_for_is_asked_for_tasks(tmp_path, monkeypatch, capsys):
    mine = tmp_path / 'mine.yaml'
    mine.write_text(share('robots', 'sim_arm.yaml').read_text().replace('name: sim_arm', 'name: mine'))
    command = ['eval', 'suite', 'expert', '--robot', str(mine), '--out', str(tmp_path / 'out')]
    assert main(command) == 2
    assert '--tasks' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
    assert main([*command, '--tasks', 'reach', 'pose']) == 2  # nothing runs if one of them cannot be done
    assert "robot 'mine' cannot do task 'pose'" in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
    assert main([*command, '--tasks', 'reach', *_QUICK]) == 0
    printed = capsys.readouterr().out
    assert printed.count('\n') == 1
    assert json.loads(printed)['overall'] == [{'level': 'none', 'successes': 1, 'trials': 1}]


def test_robots_are_found_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(eval_suite, 'run_cell', _measured)
    words = ['eval', 'suite', 'expert', '--robot', 'sim_humanoid', '--out', str(tmp_path)]
    assert main([*words, *_QUICK]) == 0
    assert json.loads(capsys.readouterr().out)['config']['tasks'] == ['pose']


def test_another_policy_of_an_equal_folder_name_is_another_suite(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(eval_suite, 'run_cell', _measured)
    shutil.copytree(share('weights', 'policy'), tmp_path / 'a' / 'policy')
    shutil.copytree(share('weights', 'policy'), tmp_path / 'b' / 'policy')
    manifest = tmp_path / 'b' / 'policy' / 'policy.json'
    manifest.write_text(manifest.read_text().replace('"train_steps": 2000', '"train_steps": 3000'))
    keys = []
    for folder in ('a', 'b'):
        words = ['eval', 'suite', str(tmp_path / folder / 'policy'), '--tasks', 'reach']
        assert main([*words, '--out', str(tmp_path / 'out'), *_QUICK]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result['config']['policy'] == 'policy (behaviour cloning)'
        keys.append(result['cells'][0]['key'])
    assert keys[0] != keys[1]


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--tasks', 'juggle'], 'juggle'),
        (['--levels', 'wild'], "no randomization 'wild'"),
        (['--trials', '-1'], 'use 1 or more'),
        (['--sim-task', 'reach'], 'use --tasks'),
        (['--randomization', 'mild'], 'use --levels'),
        (['--task', 'reach the red marker'], 'leave --task out'),
        (['--robot', 'nonesuch'], 'shipped: .*sim_arm'),
        (['--robot', 'gym_pusher'], 'apprentice eval POLICY'),
    ],
)
def test_wrong_names_end_before_anything_runs(tmp_path, capsys, words, message):
    out = tmp_path / 'out'
    assert main(['eval', 'suite', 'expert', '--out', str(out), *words]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not out.exists()
