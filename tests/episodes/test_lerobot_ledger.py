# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What we write to a dataset again and again, and what others have written to it since."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_dataset_checks import PNG, ROBOT_FILE, plausible

pa = pytest.importorskip('pyarrow', reason="needs pip install 'apprentice[lerobot-dataset]'")
pq = pytest.importorskip('pyarrow.parquet', reason="needs pip install 'apprentice[lerobot-dataset]'")
pytest.importorskip('av', reason="needs pip install 'apprentice[lerobot-dataset]'")

from apprentice.cli.main import main  # noqa: E402
from apprentice.episodes.check_lerobot import check_lerobot  # noqa: E402
from apprentice.episodes.episode_writer import write_episode  # noqa: E402
from apprentice.episodes.labels import label_path, read_label, write_label  # noqa: E402
from apprentice.episodes.lerobot_dataset import LeRobotSource  # noqa: E402
from apprentice.episodes.lerobot_export import ExportSettings, export  # noqa: E402
from apprentice.episodes.lerobot_ledger import LEDGER, Ledger, read_ledger  # noqa: E402
from apprentice.episodes.lerobot_merge import merge_lerobot, merge_logs  # noqa: E402
from apprentice.episodes.lerobot_meta import INFO, LeRobotDatasetError  # noqa: E402
from apprentice.episodes.lerobot_store import Store  # noqa: E402
from apprentice.robot.types import Outcome  # noqa: E402

VIDEO = ExportSettings(images='h264', hardware=False)


@pytest.fixture
def run(tmp_path, spec):
    for number in range(3):
        write_episode(tmp_path / 'run' / 'episodes', plausible(spec, number, 12 + number), spec, ROBOT_FILE)
    return tmp_path / 'run'


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def append(folder: Path) -> None:
    """One episode more, as LeRobotDataset.finalize of lerobot 0.4.4 leaves it: in files of its own."""
    table = pq.read_table(folder / 'data' / 'chunk-000' / 'file-002.parquet')
    for name, value in (('episode_index', 3), ('index', 39)):
        values = pa.array([value] * len(table), pa.int64())
        table = table.set_column(table.column_names.index(name), name, values)
    pq.write_table(table, folder / 'data' / 'chunk-000' / 'file-003.parquet')
    rows = pq.read_table(folder / 'meta' / 'episodes' / 'chunk-000' / 'file-000.parquet').to_pylist()
    row = rows[2] | {'episode_index': 3, 'data/file_index': 3, 'meta/episodes/file_index': 1}
    pq.write_table(
        pa.Table.from_pylist([row]), folder / 'meta' / 'episodes' / 'chunk-000' / 'file-001.parquet'
    )
    info = json.loads((folder / INFO).read_text())
    info |= {'total_episodes': 4, 'total_frames': info['total_frames'] + row['length']}
    (folder / INFO).write_text(json.dumps(info))


def without_hashes(folder: Path) -> None:
    """As ledgers were before they held the hash of the index."""
    lines = (folder / LEDGER).read_text().splitlines(keepends=True)
    (folder / LEDGER).write_text(''.join(line for line in lines if not line.startswith('{"index"')))


@pytest.mark.parametrize('old', [False, True])
def test_what_another_program_appended_is_not_removed(tmp_path, run, spec, old, capsys):
    out = tmp_path / 'set'
    export([run], out, settings=PNG)
    if old:
        without_hashes(out)
        assert len(export([run], out, settings=PNG).kept) == 3, 'nobody changed it'
        without_hashes(out)
    append(out)
    before = files(out)
    with pytest.raises(LeRobotDatasetError, match=r'changed by another program.*new folder.*merge'):
        export([run], out, settings=PNG)
    assert files(out) == before
    # the remedy, with the dataset that was changed
    assert main(['dataset', 'export', str(run), '--out', str(tmp_path / 'new'), '--images', 'png']) == 0
    words = ['dataset', 'merge', str(tmp_path / 'new'), str(out), '--out', str(tmp_path / 'both')]
    assert main(words) == 0
    # rows 0 to 2 are known; the appended one repeats the rows of the last, so it is known, too
    assert len(LeRobotSource(tmp_path / 'both', spec)) == 3


def test_other_changes_of_the_index_are_seen(tmp_path, run):
    export([run], tmp_path / 'set', settings=PNG)
    info = json.loads((tmp_path / 'set' / INFO).read_text())
    (tmp_path / 'set' / INFO).write_text(json.dumps({**info, 'splits': {'train': '0:2', 'val': '2:3'}}))
    with pytest.raises(LeRobotDatasetError, match='changed by another program'):
        export([run], tmp_path / 'set', settings=PNG)


def test_folders_that_hold_something_else_are_not_tidied_up(tmp_path, run):
    (tmp_path / 'home' / 'videos').mkdir(parents=True)
    (tmp_path / 'home' / 'videos' / 'holiday.mp4').write_bytes(b'x')
    with pytest.raises(LeRobotDatasetError, match=r'something else \(videos\)'):
        export([run], tmp_path / 'home', settings=PNG)
    assert (tmp_path / 'home' / 'videos' / 'holiday.mp4').exists()


KILLED = """
import os, signal, sys
from apprentice.episodes import lerobot_store
from apprentice.episodes.lerobot_export import ExportSettings, export

what, run, out = sys.argv[1:]
made = getattr(lerobot_store.Store, what)

def dying(self, *args):
    made(self, *args)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(lerobot_store.Store, what, dying)
export([run], out, settings=ExportSettings(images='png'))
"""


@pytest.mark.parametrize('what', ['_write_episodes', '_write_tasks', '_make_index'])
def test_killed_while_the_index_is_made(tmp_path, run, spec, what):
    out = tmp_path / 'set'
    export([run], out, settings=PNG)
    write_label(run / 'episodes' / 'e0.mcap', Outcome.ABORT, 'test')
    write_episode(run / 'episodes', plausible(spec, 3, 15), spec, ROBOT_FILE)
    done = subprocess.run([sys.executable, '-c', KILLED, what, str(run), str(out)], capture_output=True)
    assert done.returncode == -9, done.stderr
    again = shutil.copytree(out, tmp_path / 'changed')
    report = export([run], out, settings=PNG)
    assert (len(report.kept), report.added, report.refused) == (3, [], {})
    source = LeRobotSource(out, spec)
    assert [len(source.episode(number)) for number in range(3)] == [13, 14, 15]
    assert check_lerobot(out) == []
    append(again)  # even then a change by others is seen
    with pytest.raises(LeRobotDatasetError, match='changed by another program'):
        export([run], again, settings=PNG)


@pytest.mark.parametrize('settings', [PNG, VIDEO], ids=['png', 'video'])
def test_files_are_on_the_disk_before_the_ledger_names_them(tmp_path, run, monkeypatch, settings):
    synced, seen = set(), []
    fsync, commit = os.fsync, Ledger.commit

    def noting(fd):
        fsync(fd)
        synced.add(os.fstat(fd).st_ino)

    def checking(self, entry):
        # of the files of this episode and the folders they are in
        paths = [path for path in self.folder.rglob('*') if path.parts[-1].startswith('file-')]
        paths += [path.parent for path in paths]
        seen.append([str(path) for path in paths if path.stat().st_ino not in synced])
        commit(self, entry)

    monkeypatch.setattr(os, 'fsync', noting)
    monkeypatch.setattr(Ledger, 'commit', checking)
    export([run], tmp_path / 'set', settings=settings)
    assert seen == [[], [], []]
    seen.clear()
    merge_lerobot([tmp_path / 'set'], tmp_path / 'merged')
    assert seen == [[], [], []]
    synced.clear()
    write_label(run / 'episodes' / 'e0.mcap', Outcome.ABORT, 'test')
    export([run], tmp_path / 'set', settings=settings)
    for number in (1, 2):  # numbered anew
        path = tmp_path / 'set' / 'data' / 'chunk-000' / f'file-{number:03d}.parquet'
        assert path.stat().st_ino in synced


# merging


def test_merge_refuses_the_target_among_the_sources(tmp_path, run, capsys):
    export([run], tmp_path / 'set', settings=PNG)
    before = files(tmp_path)
    for words in ([tmp_path / 'set', '--out', tmp_path / 'set'], [run, '--out', run],
                  [run, '--out', run / 'episodes']):  # fmt: skip
        assert main(['dataset', 'merge', *map(str, words)]) == 2
        assert 'also one of the folders' in capsys.readouterr().err
    assert files(tmp_path) == before


def test_episodes_of_an_export_are_merged_and_exported_once(tmp_path, run, spec):
    other = tmp_path / 'other'
    write_episode(other, plausible(spec, 7, 20), spec, ROBOT_FILE)
    export([run], tmp_path / 'a', settings=PNG)
    export([run, other], tmp_path / 'b', settings=PNG)
    assert merge_lerobot([tmp_path / 'b'], tmp_path / 'a') == 1, 'into an export'
    assert [entry.episode_id for entry in read_ledger(tmp_path / 'a')] == ['e0', 'e1', 'e2', 'e7']
    done = export([run, other], tmp_path / 'a', settings=PNG)
    assert (len(done.kept), done.added) == (4, []), 'an export into what was merged'
    # the same log with another label is the same episode
    write_label(run / 'episodes' / 'e1.mcap', Outcome.FAILURE, 'test')
    export([run], tmp_path / 'c', settings=PNG)
    assert merge_lerobot([tmp_path / 'c'], tmp_path / 'a') == 0
    assert len(LeRobotSource(tmp_path / 'a', spec)) == 4


def test_merge_of_logs_keeps_the_newest_label(tmp_path, run):
    path, out = run / 'episodes' / 'e0.mcap', tmp_path / 'all'
    write_label(path, Outcome.FAILURE, 'early')
    merge_logs([run / 'episodes'], out)
    assert read_label(out / 'e0.mcap') == Outcome.FAILURE
    write_label(out / 'e0.mcap', Outcome.SUCCESS, 'late')
    merge_logs([run / 'episodes'], out)
    assert read_label(out / 'e0.mcap') == Outcome.SUCCESS
    write_label(path, Outcome.ABORT, 'later')
    merge_logs([run / 'episodes'], out)
    assert label_path(out / 'e0.mcap').read_bytes() == label_path(path).read_bytes()
    label_path(path).write_text('{"outcome": "FAILURE"}')  # by hand, without a time: that of its file
    os.utime(label_path(path), (4e9, 4e9))
    merge_logs([run / 'episodes'], out)
    assert read_label(out / 'e0.mcap') == Outcome.FAILURE


# copies


def test_push_folder_overwrites_nothing_but_its_own_copies(tmp_path, run, capsys):
    export([run], tmp_path / 'set', settings=PNG)
    words = ['dataset', 'push-folder', str(tmp_path / 'set')]
    shutil.copytree(tmp_path / 'set', tmp_path / 'foreign')
    (tmp_path / 'foreign' / LEDGER).unlink()
    before = files(tmp_path / 'foreign')
    assert main([*words, str(tmp_path / 'foreign')]) == 2
    assert 'choose a new folder' in capsys.readouterr().err
    assert files(tmp_path / 'foreign') == before
    (tmp_path / 'copy').mkdir()
    assert main([*words, str(tmp_path / 'copy')]) == 0, 'an empty folder'
    assert main([*words, str(tmp_path / 'copy')]) == 0, 'again'
    append(tmp_path / 'copy')
    assert main([*words, str(tmp_path / 'copy')]) == 2
    assert 'changed by another program' in capsys.readouterr().err
    assert (tmp_path / 'copy' / 'data' / 'chunk-000' / 'file-003.parquet').exists()


def test_a_store_is_let_go_of_when_it_is_refused(tmp_path, run):
    export([run], tmp_path / 'set', settings=PNG)
    for _ in range(2):
        with pytest.raises(LeRobotDatasetError, match='other robot_type'):
            Store(
                tmp_path / 'set', 10, 'another', json.loads((tmp_path / 'set' / INFO).read_text())['features']
            )
