# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Logs exported as a LeRobotDataset v3: whole, resumable, idempotent, and in the schema of lerobot."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from test_lerobot_dataset import make, same

pq = pytest.importorskip('pyarrow.parquet', reason="needs pip install 'apprentice[lerobot-dataset]'")
pytest.importorskip('av', reason="needs pip install 'apprentice[lerobot-dataset]'")

from apprentice.episodes.episode_writer import write_episode  # noqa: E402
from apprentice.episodes.labels import write_label  # noqa: E402
from apprentice.episodes.lerobot_dataset import LeRobotSource  # noqa: E402
from apprentice.episodes.lerobot_export import ExportSettings, _images, export  # noqa: E402
from apprentice.episodes.lerobot_ledger import LEDGER, read_ledger  # noqa: E402
from apprentice.episodes.lerobot_meta import LeRobotDatasetError  # noqa: E402
from apprentice.episodes.lerobot_store import Store  # noqa: E402
from apprentice.episodes.lerobot_writer import LeRobotWriter  # noqa: E402
from apprentice.robot.parts import share  # noqa: E402
from apprentice.robot.types import Outcome, Reward, RewardKind, Source  # noqa: E402

ROBOT_FILE = share('robots', 'sim_arm.yaml').read_text()
PNG = ExportSettings(images='png')


def smooth(episode, number):
    """Pictures that a codec keeps."""
    ramp = np.linspace(0, 60, 64)[None, :, None] + np.linspace(0, 40, 64)[:, None, None]
    for place, name in enumerate(episode.images):
        rows = [(ramp + 6 * row + 20 * number + 9 * place).astype(np.uint8) for row in range(len(episode))]
        episode.images[name] = np.stack(rows).repeat(3, axis=-1)
    return episode


@pytest.fixture
def episodes(spec):
    made = [make(spec, 0, 12), make(spec, 1, 9, Outcome.FAILURE), make(spec, 2, 10)]
    for number, episode in enumerate(made):
        smooth(episode, number)
        episode.stamps = episode.stamps + 100.0
        episode.source[6] = int(Source.HOLD)
        episode.rewards = [
            Reward(100.0, 100.0 + 0.1 * t, RewardKind.ABS_PROGRESS, 0.1 * t, 0.1 * t, model='critic/v2')
            for t in range(2, 6)
        ]
    return made


@pytest.fixture
def run(tmp_path, spec, episodes):
    for episode in episodes:
        write_episode(tmp_path / 'run' / 'episodes', episode, spec, ROBOT_FILE)
    return tmp_path / 'run'


def contents(folder):
    """Everything of a dataset but the ledger: bytes, and tables as text (NaN equals NaN there)."""
    found = {}
    for path in sorted(p for p in folder.rglob('*') if p.is_file() and p.name != LEDGER.name):
        table = path.suffix == '.parquet'
        found[str(path.relative_to(folder))] = (
            str(pq.read_table(path).to_pydict()) if table else path.read_bytes()
        )
    return found


@pytest.mark.parametrize(('images', 'error'), [('png', 0), ('h264', 6), ('av1', 8)])
def test_round_trip(tmp_path, run, spec, episodes, images, error):
    done = export([run], tmp_path / 'set', settings=ExportSettings(images=images, hardware=False))
    assert (len(done.added), done.refused) == (3, {})
    source = LeRobotSource(tmp_path / 'set', spec)
    assert len(source) == 3
    for number, episode in enumerate(episodes):
        found = source.episode(number)
        episode.stamps = episode.stamps - 100.0  # theirs begin at 0
        episode.takeover_id = found.takeover_id  # counted anew
        same(found, episode, error)


def test_schema_is_that_of_lerobot(tmp_path, run, spec):
    """Written down from a dataset of lerobot 0.4.4; tools/check_lerobot_export.py asks lerobot itself."""
    export([run], tmp_path / 'set', settings=ExportSettings(images='h264', hardware=False))
    info = json.loads((tmp_path / 'set' / 'meta' / 'info.json').read_text())
    assert {k: info[k] for k in ('codebase_version', 'fps', 'total_episodes', 'total_frames', 'splits')} == {
        'codebase_version': 'v3.0', 'fps': 10, 'total_episodes': 3, 'total_frames': 31,
        'splits': {'train': '0:3'},
    }  # fmt: skip
    assert info['features']['observation.images.front'] == {
        'dtype': 'video', 'shape': [64, 64, 3], 'names': ['height', 'width', 'channels'],
    }  # fmt: skip
    assert info['features']['action']['names'] == list(spec.joint_names)
    assert not any('/' in name for name in info['features'])
    data = pq.read_schema(tmp_path / 'set' / 'data' / 'chunk-000' / 'file-000.parquet')
    types = {name: str(kind).replace('element', 'item') for name, kind in zip(data.names, data.types)}
    assert types['observation.state'] == f'fixed_size_list<item: float>[{spec.dim}]'
    wanted = {
        'timestamp': 'float', 'frame_index': 'int64', 'episode_index': 'int64', 'index': 'int64',
        'task_index': 'int64', 'next.reward': 'float', 'next.done': 'bool', 'next.success': 'bool',
        'intervention': 'bool', 'control_source': 'int64', 'reward.critic_v2.progress': 'float',
    }  # fmt: skip
    assert {name: types[name] for name in wanted} == wanted
    assert 'observation.images.front' not in types
    tasks = pq.read_table(tmp_path / 'set' / 'meta' / 'tasks.parquet')
    assert json.loads(tasks.schema.metadata[b'pandas'])['index_columns'] == ['__index_level_0__']
    rows = pq.read_schema(tmp_path / 'set' / 'meta' / 'episodes' / 'chunk-000' / 'file-000.parquet')
    numbers = ('min', 'max', 'mean', 'std', 'count', 'q01', 'q10', 'q50', 'q90', 'q99')
    for name in info['features']:
        assert {n for n in rows.names if n.startswith(f'stats/{name}/')} == {
            f'stats/{name}/{k}' for k in numbers
        }
    kinds = {name: str(kind).replace('element', 'item') for name, kind in zip(rows.names, rows.types)}
    assert kinds['stats/next.done/min'] == 'list<item: bool>'
    assert kinds['stats/index/max'] == 'list<item: int64>'
    assert kinds['stats/observation.images.front/mean'] == 'list<item: list<item: list<item: double>>>'
    for key in ('chunk_index', 'file_index', 'from_timestamp', 'to_timestamp'):
        assert f'videos/observation.images.front/{key}' in rows.names
    for key in ('data/chunk_index', 'dataset_from_index', 'dataset_to_index', 'meta/episodes/file_index'):
        assert kinds[key] == 'int64'


def test_columns_say_who_drove_what_was_rewarded_and_when(tmp_path, run, episodes):
    export([run], tmp_path / 'set', settings=PNG)
    table = pq.read_table(tmp_path / 'set' / 'data' / 'chunk-000' / 'file-000.parquet').to_pydict()
    assert table['intervention'] == (episodes[0].source == int(Source.HUMAN)).tolist()
    assert table['control_source'] == episodes[0].source.tolist()
    assert table['next.reward'] == [0.0] * 11 + [1.0]
    assert table['observation.stamp_ns'][:2] == [100_000_000_000, 100_100_000_000]
    progress = np.array(table['reward.critic_v2.progress'])
    np.testing.assert_allclose(progress[:6], [np.nan, 0.2, 0.3, 0.4, 0.5, 0.5], atol=1e-6)
    failed = pq.read_table(tmp_path / 'set' / 'data' / 'chunk-000' / 'file-001.parquet').to_pydict()
    assert (sum(failed['next.reward']), any(failed['next.success']), set(failed['outcome'])) == (
        0.0,
        False,
        {2},
    )


def test_statistics_are_those_of_all_frames(tmp_path, run, episodes):
    export([run], tmp_path / 'set', settings=PNG)
    stats = json.loads((tmp_path / 'set' / 'meta' / 'stats.json').read_text())
    state = np.concatenate([episode.state for episode in episodes]).astype(np.float64)
    for name in ('mean', 'std', 'min', 'max'):
        np.testing.assert_allclose(
            stats['observation.state'][name], getattr(state, name)(0), rtol=1e-6, atol=1e-7
        )
    images = np.concatenate([episode.images['front'] for episode in episodes]) / 255
    front = stats['observation.images.front']
    assert np.shape(front['mean']) == (3, 1, 1)
    for name, tolerance in (('mean', 1e-9), ('std', 1e-9), ('min', 1e-9), ('max', 1e-9)):
        wanted = getattr(images, name)((0, 1, 2))
        np.testing.assert_allclose(np.ravel(front[name]), wanted, atol=tolerance)
    assert stats['index']['max'] == [30.0]
    assert stats['action']['count'] == [31]


def test_again_changes_nothing_and_adds_only_what_is_new(tmp_path, run, spec):
    export([run], tmp_path / 'set')
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / 'set').rglob('*.mp4')}
    first = contents(tmp_path / 'set')
    done = export([run, run / 'episodes'], tmp_path / 'set')
    assert (done.added, done.updated, len(done.kept)) == ([], [], 6)
    assert contents(tmp_path / 'set') == first
    write_episode(run / 'episodes', smooth(make(spec, 3, 11), 3), spec, ROBOT_FILE)
    assert export([run], tmp_path / 'set').added == ['e3.mcap']
    assert {path: path.stat().st_mtime_ns for path in before} == before
    source = LeRobotSource(tmp_path / 'set', spec)
    assert [len(source.episode(number)) for number in range(4)] == [12, 9, 10, 11]


def test_labels_given_later_update_remove_and_bring_back(tmp_path, run, spec):
    out = tmp_path / 'set'
    export([run], out, settings=PNG)
    write_label(run / 'episodes' / 'e1.mcap', Outcome.SUCCESS, 'test')
    assert export([run], out, settings=PNG).updated == ['e1.mcap']
    assert LeRobotSource(out, spec).episode(1).outcome == Outcome.SUCCESS
    write_label(run / 'episodes' / 'e0.mcap', Outcome.ABORT, 'test')
    done = export([run], out, settings=PNG)
    assert (done.removed, done.left_out) == (['e0.mcap'], {'e0.mcap': 'ABORT'})
    source = LeRobotSource(out, spec)
    assert [len(source.episode(number)) for number in range(2)] == [9, 10]
    rows = [pq.read_table(path).to_pydict() for path in sorted((out / 'data').rglob('*.parquet'))]
    assert [index for table in rows for index in table['index']] == list(range(19))
    assert [set(table['episode_index']) for table in rows] == [{0}, {1}]
    write_label(run / 'episodes' / 'e0.mcap', Outcome.FAILURE, 'test')
    assert export([run], out, settings=PNG).added == ['e0.mcap']
    assert [len(LeRobotSource(out, spec).episode(number)) for number in range(3)] == [9, 10, 12]


KILLED = """
import os, signal, sys
from apprentice.episodes import lerobot_writer
from apprentice.episodes.lerobot_export import ExportSettings, export

count = 0
commit = lerobot_writer.Store.commit

def dying(self, entry):
    global count
    count += 1
    if count == 2:  # its files are written, it is not noted yet
        os.kill(os.getpid(), signal.SIGKILL)
    commit(self, entry)

lerobot_writer.Store.commit = dying
export([sys.argv[1]], sys.argv[2], settings=ExportSettings(images='h264', hardware=False))
"""


def test_killed_export_goes_on(tmp_path, run, spec):
    out, settings = tmp_path / 'set', ExportSettings(images='h264', hardware=False)
    done = subprocess.run([sys.executable, '-c', KILLED, str(run), str(out)], capture_output=True)
    assert done.returncode == -9, done.stderr
    assert len(list(out.rglob('*.parquet'))) == 2
    with open(out / LEDGER, 'a') as ledger:
        ledger.write('{"slot": 1, "episo')  # killed in the middle of a line
    report = export([run], out, settings=settings)
    assert (len(report.kept), len(report.added)) == (1, 2)
    export([run], tmp_path / 'whole', settings=settings)
    assert contents(out) == contents(tmp_path / 'whole')


def test_what_cannot_be_read_is_named_and_the_rest_exported(tmp_path, run, spec):
    whole = (run / 'episodes' / 'e1.mcap').read_bytes()
    (run / 'episodes' / 'e1.mcap').write_bytes(whole[: len(whole) // 4])  # the other half is the index
    done = export([run], tmp_path / 'set', settings=PNG)
    assert list(done.refused) == ['e1.mcap']
    assert 'cut off' in done.refused['e1.mcap']
    assert len(LeRobotSource(tmp_path / 'set', spec)) == 2


def test_held_out_and_other_outcomes_are_left_out(tmp_path, spec, episodes):
    episodes[0].eval_only = True
    for episode in episodes:
        write_episode(tmp_path / 'run', episode, spec, ROBOT_FILE)
    settings = ExportSettings(images='png', outcomes=(Outcome.SUCCESS,))
    done = export([tmp_path / 'run'], tmp_path / 'set', settings=settings)
    assert done.left_out == {'e0.mcap': 'held out for evaluation', 'e1.mcap': 'FAILURE'}
    assert done.added == ['e2.mcap']


def test_small_pictures_lose_nothing_unless_told_and_a_dataset_stays_as_it_is(tmp_path, run, spec):
    def dtype(name):
        info = json.loads((tmp_path / name / 'meta' / 'info.json').read_text())
        return info['features']['observation.images.front']['dtype']

    assert spec.cameras[0].width < 128
    export([run], tmp_path / 'new')
    export([run], tmp_path / 'video', settings=ExportSettings(images='h264', hardware=False))
    done = export([run], tmp_path / 'video')
    assert (dtype('new'), dtype('video')) == ('image', 'video')
    assert len(done.kept) == 3
    cameras = tuple(dataclasses.replace(camera, width=128, height=128) for camera in spec.cameras)
    wide = dataclasses.replace(spec, cameras=cameras)
    assert _images(wide, {}) == 'h264'


def test_finer_grid(tmp_path, run):
    export([run], tmp_path / 'set', settings=ExportSettings(images='png', fps=20))
    info = json.loads((tmp_path / 'set' / 'meta' / 'info.json').read_text())
    assert (info['fps'], info['total_frames']) == (20, 62)


def test_other_peoples_datasets_and_other_columns_are_not_touched(tmp_path, run, spec):
    export([run], tmp_path / 'set', settings=PNG)
    with pytest.raises(LeRobotDatasetError, match=r'columns .*front.*new folder'):
        export([run], tmp_path / 'set', settings=ExportSettings(images='h264'))
    store = Store(
        tmp_path / 'set',
        10,
        'sim_arm',
        LeRobotWriter(tmp_path / 'x', spec, ['critic/v2'], 'png').store.features,
    )
    with store, pytest.raises(LeRobotDatasetError, match='another process'):
        export([run], tmp_path / 'set', settings=PNG)
    (tmp_path / 'set' / LEDGER).unlink()
    with pytest.raises(LeRobotDatasetError, match='written by something else'):
        export([run], tmp_path / 'set', settings=PNG)


def test_episodes_that_do_not_fit_are_refused_with_a_remedy(tmp_path, spec):
    odd = dataclasses.replace(spec, cameras=tuple(dataclasses.replace(c, width=63) for c in spec.cameras))
    episode = make(spec, 0, 9)
    episode.images = {name: images[:, :, :63] for name, images in episode.images.items()}
    with pytest.raises(ValueError, match='must be even; use --images png'):
        LeRobotWriter(tmp_path / 'odd', odd).add(episode)
    with pytest.raises(ValueError, match='correct the robot file'):
        LeRobotWriter(tmp_path / 'size', spec).add(episode)
    whole = make(spec, 0, 9)
    whole.state[3, 1] = np.nan
    with pytest.raises(ValueError, match='state holds NaN'):
        LeRobotWriter(tmp_path / 'nan', spec).add(whole)
    with pytest.raises(LeRobotDatasetError, match='give --fps'):
        LeRobotWriter(tmp_path / 'rate', dataclasses.replace(spec, action_dt=0.03))
    assert read_ledger(tmp_path / 'nan') == []


def test_narrower_settings_take_out_what_is_there(tmp_path, spec, episodes):
    episodes[2].eval_only = True
    for episode in episodes:
        write_episode(tmp_path / 'run', episode, spec, ROBOT_FILE)
    out, run = tmp_path / 'set', tmp_path / 'run'
    wide = dataclasses.replace(PNG, held_out=True)
    assert len(export([run], out, settings=wide).added) == 3
    done = export([run], out, settings=dataclasses.replace(wide, outcomes=(Outcome.SUCCESS,)))
    assert (done.removed, done.left_out, len(done.kept)) == (['e1.mcap'], {'e1.mcap': 'FAILURE'}, 2)
    done = export([run], out, settings=PNG)
    assert (done.removed, done.added, done.kept) == (['e2.mcap'], ['e1.mcap'], ['e0.mcap'])
    write_label(run / 'e1.mcap', Outcome.SUCCESS, 'test')
    assert export([run], out, settings=PNG).updated == ['e1.mcap']
    (run / 'e1.label.json').unlink()  # as recorded again
    done = export([run], out, settings=dataclasses.replace(PNG, outcomes=(Outcome.SUCCESS,)))
    assert done.removed == ['e1.mcap']
    assert [len(LeRobotSource(out, spec).episode(0)), len(LeRobotSource(out, spec))] == [12, 1]


def test_a_dataset_without_any_episode_is_none(tmp_path, run, spec):
    out = tmp_path / 'set'
    export([run], out, settings=PNG)
    for number in range(3):
        write_label(run / 'episodes' / f'e{number}.mcap', Outcome.ABORT, 'test')
    assert len(export([run], out, settings=PNG).removed) == 3
    with pytest.raises(LeRobotDatasetError, match='no LeRobotDataset'):
        LeRobotSource(out, spec)
    assert not list((out / 'data').rglob('*.parquet'))
    write_label(run / 'episodes' / 'e2.mcap', Outcome.SUCCESS, 'test')
    assert export([run], out, settings=PNG).added == ['e2.mcap']
    assert len(LeRobotSource(out, spec)) == 1


def test_models_that_say_a_value_only_have_a_column(tmp_path, spec, episodes):
    nan = float('nan')
    rewards = [Reward(0.1 * t, 0.1 * t, RewardKind.ABS_PROGRESS, 0.1 * t, nan, model='vip') for t in range(5)]
    rewards += [Reward(0.1, 0.1, RewardKind.CLIP_SIM, 0.3, nan, model='clip')]  # no progress
    episodes[0].rewards = [dataclasses.replace(r, t0=r.t0 + 100, t1=r.t1 + 100) for r in rewards]
    write_episode(tmp_path / 'run', episodes[0], spec, ROBOT_FILE)
    export([tmp_path / 'run'], tmp_path / 'set', settings=PNG)
    table = pq.read_table(tmp_path / 'set' / 'data' / 'chunk-000' / 'file-000.parquet')
    assert [name for name in table.column_names if name.startswith('reward.')] == ['reward.vip.progress']
    assert table['reward.vip.progress'].to_pylist()[:3] == pytest.approx([0.1, 0.2, 0.3], abs=1e-6)
