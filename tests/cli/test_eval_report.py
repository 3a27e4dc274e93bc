# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The page of a run: what counts as success, where evaluations stand, what is said of what is missing."""

import dataclasses
import json

import numpy as np
import pytest

from apprentice.cli.main import main
from apprentice.episodes.episode_writer import write_episode
from apprentice.episodes.labels import write_label
from apprentice.learning.run_history import append_evaluation, read_history
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome, Reward, RewardKind, Source

ROBOT = RobotSpec.load(share('robots', 'sim_arm.yaml'))


def episode(number: int, success: bool, human: int = 0, held_out: bool = False, version: int = 0) -> Episode:
    length, home = 10, ROBOT.vector('home').astype(np.float32)
    stamps = 100.0 * (number + 1) + 0.1 * np.arange(length)
    source = np.full(length, int(Source.POLICY), np.uint8)
    source[:human] = int(Source.HUMAN)
    return Episode(
        episode_id=f'run-{number:05d}',
        task='pick up the red cube',
        seed=number,
        outcome=Outcome.SUCCESS if success else Outcome.FAILURE,
        end_cause=2,
        eval_only=held_out,
        stamps=stamps,
        images={c.name: np.zeros((length, c.height, c.width, 3), np.uint8) for c in ROBOT.cameras},
        state=np.tile(home, (length, 1)),
        action=np.tile(home, (length, 1)),
        source=source,
        takeover_id=np.where(source == int(Source.HUMAN), 1, 0).astype(np.int64),
        rewards=[
            Reward(stamps[-1], stamps[-1], RewardKind.ABS_PROGRESS, 0.75, progress=0.75, model='critic')
        ],
        robot='sim_arm',
        weights_version=version,
    )


@pytest.fixture
def run(tmp_path):
    """Two evaluations of 2 and 3 trials around four learning episodes, one of them with help."""
    folder, number = tmp_path / 'run', 0
    plan = [dict(success=s, held_out=True) for s in (True, False)]
    plan += [dict(success=False), dict(success=True, human=4), dict(success=True), dict(success=True)]
    plan += [dict(success=s, held_out=True, version=3, human=h) for s, h in ((True, 0), (True, 0), (True, 2))]
    for number, options in enumerate(plan):
        write_episode(folder / 'episodes', episode(number, **options), ROBOT)
    lines = [{'train_steps': 10 * v, 'episodes': v + 1, 'version': v, 'loss': 1.0 / v} for v in (1, 2, 3)]
    text = ''.join(json.dumps(line) + '\n' for line in lines)
    text += json.dumps({'train_steps': 35, 'episodes': 4, 'refused': 'it jumps'}) + '\n'
    (folder / 'metrics.jsonl').write_text(text + '{"torn')
    return folder


def test_a_helped_episode_is_no_success_and_evaluations_are_apart(run):
    history = read_history(run)
    first, last = history.evaluations
    assert (first.version, first.after, first.successes, first.trials) == (0, 0, 1, 2)
    assert (last.version, last.after, last.successes, last.trials) == (3, 4, 2, 3)  # helped: no success
    assert last.interval == pytest.approx((0.208, 0.939), abs=2e-3)
    assert last.median_seconds == pytest.approx(1.0, abs=0.11)
    trials = [attempt.trial for attempt in history.learning]
    assert [trial.autonomous_success for trial in trials] == [False, False, True, True]
    assert (trials[1].interventions, trials[1].human_steps, trials[1].steps) == (1, 4, 10)
    assert history.learning[0].progress == {'critic': 0.75}
    assert len(history.versions) == 3  # the torn line is left out


def test_a_later_label_counts(run):
    write_label(run / 'episodes' / 'run-00002.mcap', Outcome.SUCCESS, 'test')
    assert read_history(run).learning[0].trial.autonomous_success


def test_eval_report_writes_one_page_that_opens_from_the_disk(run, capsys):
    append_evaluation(run, {'version': 2, 'successes': 30, 'trials': 50, 'seconds': [2.0, 3.0]})
    (run / 'episodes' / 'broken.mcap').write_bytes(b'no mcap')
    assert main(['eval', 'report', str(run)]) == 0
    said = capsys.readouterr().out
    assert 'after   4 episodes, version 3: 2/3' in said
    assert 'broken.mcap' in said
    page = (run / 'report' / 'learning' / 'index.html').read_text()
    assert page.count('<svg') == 6
    assert 'http' not in page.replace('http://www.w3.org', '').replace('http://purl.org', '').replace(
        'http://creativecommons.org', ''
    ).replace('https://matplotlib.org', '')
    assert '60 %' in page
    assert 'it jumps' in page
    data = json.loads((run / 'report' / 'learning' / 'learning.json').read_text())
    assert (data['episodes'], data['without_help'], data['helped']) == (4, 2, 1)
    offline = [point for point in data['evaluations'] if point['where'] == 'offline']
    assert [(p['version'], p['after'], p['successes']) for p in offline] == [(2, 3, 30)]


def test_wrong_words_name_the_remedy(run, tmp_path, capsys):
    assert main(['eval', 'report']) == 2
    assert 'name one run folder' in capsys.readouterr().err
    assert main(['eval', 'report', str(tmp_path / 'nothing')]) == 2
    assert 'no episodes and no metrics.jsonl' in capsys.readouterr().err
    assert main(['eval', 'report', str(run), '--films', '2']) == 2
    assert 'films is no option of `eval report`' in capsys.readouterr().err


def test_a_run_without_any_evaluation_says_so(tmp_path, capsys):
    folder = tmp_path / 'run'
    write_episode(folder / 'episodes', dataclasses.replace(episode(0, True), rewards=[]), ROBOT)
    assert main(['eval', 'report', str(folder), '--out', str(tmp_path / 'page')]) == 0
    assert 'none yet' in (tmp_path / 'page' / 'index.html').read_text()


def test_a_result_is_kept_with_its_run(run, capsys):
    words = f'eval policy --trials 1 --workers 1 --json --keep {run}'
    assert main(words.split()) == 0
    result = json.loads(capsys.readouterr().out)
    (point,) = (e for e in read_history(run).evaluations if e.where == 'offline')
    assert (point.version, point.successes, point.trials) == (0, result['successes'], 1)
