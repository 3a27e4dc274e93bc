# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The suite as a user runs it: a page with films, resumed where it stopped."""

import json
import re

import pytest
from PIL import Image

from apprentice.cli import eval_suite
from apprentice.cli.main import main
from apprentice.learning.suite import Attempt, Cell, SuiteConfig, cells, finished, keep, overall
from apprentice.learning.suite_page import write


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
    config = SuiteConfig('expert', ('reach',), ('none',), trials=1)
    (cell,) = cells(config)
    cell.attempts.append(Attempt(900_000, 'reach the red marker', True, 1.0, 2.0))
    keep(cell, tmp_path)
    assert finished(cells(config)[0], tmp_path) == cell
    assert finished(cells(SuiteConfig('other', ('reach',), ('none',), trials=1))[0], tmp_path) is None
    (tmp_path / 'cells' / 'reach-none.json').write_text('{"task": ')
    assert finished(cells(config)[0], tmp_path) is None


def test_an_unfinished_suite_says_so(tmp_path):
    config = SuiteConfig('a <b> policy', ('reach', 'pick'), ('none',), trials=4)
    done = Cell('reach', 'none', attempts=[Attempt(1, 'x', i < 1, 0.5, 8.0) for i in range(4)])
    page = write(config, [done], tmp_path).read_text()
    assert 'cells missing: 1' in page
    assert 'a &lt;b&gt; policy' in page
    assert '25 %' in page
    assert list(overall([done])) == [('none', 1, 4)]


def test_tasks_of_another_robot_are_named_and_left_out(tmp_path, monkeypatch):
    class Elsewhere:
        robot = 'another_robot'

    monkeypatch.setattr('apprentice.learning.suite.load_task', lambda name: Elsewhere())
    assert main([*_command(tmp_path), '--films', '0']) == 0
    assert 'the task is for another_robot, not sim_arm' in (tmp_path / 'index.html').read_text()


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--tasks', 'juggle'], 'juggle'),
        (['--levels', 'wild'], "no randomization 'wild'"),
        (['--trials', '-1'], 'use 1 or more'),
    ],
)
def test_wrong_names_end_before_anything_runs(tmp_path, capsys, words, message):
    assert main(['eval', 'suite', 'expert', '--out', str(tmp_path), *words]) == 2
    assert message in capsys.readouterr().err
