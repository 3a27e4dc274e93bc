# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The file of people's answers: nothing is lost, the last answer counts, a torn line spoils only itself."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from apprentice.episodes.answers import (
    Answer,
    AnswerFile,
    Stretch,
    StretchPair,
    consistency,
    read_answers,
)
from apprentice.episodes.files import EpisodeFileError


def pair(number=0, other=1):
    return StretchPair('pick', Stretch(f'e{number}', 0.5, 2.5), Stretch(f'e{other}', 1.0, 3.0), 0.25)


def test_what_is_written_is_read(tmp_path):
    file = AnswerFile(tmp_path / 'run' / 'preferences.jsonl')
    assert file.read() == []
    given = [file.add(Answer(pair(), 'left', 'anna')), file.add(Answer(pair(2, 3), 'cannot tell', 'bo'))]
    assert file.read() == given
    assert given[0].better == Stretch('e0', 0.5, 2.5)
    assert given[0].worse == Stretch('e1', 1.0, 3.0)
    assert given[1].better is None
    assert given[0].time == pytest.approx(time.time(), abs=60)


def test_the_last_answer_counts_and_can_be_taken_back(tmp_path):
    file = AnswerFile(tmp_path / 'a.jsonl')
    for choice in ('left', 'right'):
        file.add(Answer(pair(), choice, 'anna'))
    file.add(Answer(pair().swapped(), 'equal', 'bo'))
    assert [(a.person, a.choice) for a in file.read()] == [('anna', 'right'), ('bo', 'equal')]
    assert file.undo('anna').choice == 'right'
    assert [(a.person, a.choice) for a in file.read()] == [('anna', 'left'), ('bo', 'equal')]
    file.undo('anna')
    assert [a.person for a in file.read()] == ['bo']
    assert file.undo('anna') is None
    assert len((tmp_path / 'a.jsonl').read_text().splitlines()) == 5, 'lines are only appended'


def test_a_pair_is_the_same_from_either_side():
    assert pair().pair_id == pair().swapped().pair_id != pair(0, 2).pair_id
    assert Answer(pair(), 'left').agrees(Answer(pair().swapped(), 'right'))
    assert not Answer(pair(), 'left').agrees(Answer(pair().swapped(), 'left'))
    assert Answer(pair(), 'equal').agrees(Answer(pair().swapped(), 'equal'))


def test_consistency_counts_repeats_only():
    first, again = Answer(pair(), 'left', 'anna'), Answer(pair().swapped(), 'right', 'anna', repeat=True)
    corrected = Answer(pair(), 'right', 'anna')
    assert consistency([first, again]).share == 1.0
    assert consistency([first, corrected]).repeats == 0, 'a correction is no repeat'
    assert consistency([first, corrected, again]).agreed == 0, 'against the answer before, not the first'
    assert consistency([first, Answer(pair(), 'right', 'anna', repeat=True)]).share == 0.0


@pytest.mark.parametrize('cut', [1, 20, 60])
def test_a_torn_line_spoils_only_itself(tmp_path, cut):
    file = AnswerFile(tmp_path / 'a.jsonl')
    file.add(Answer(pair(), 'left', 'anna'))
    file.add(Answer(pair(2, 3), 'right', 'anna'))
    content = file.path.read_bytes()
    file.path.write_bytes(content[:-cut])
    kept = ['left', 'right'] if cut == 1 else ['left']
    assert [a.choice for a in file.read()] == kept
    file.add(Answer(pair(4, 5), 'equal', 'anna'))
    assert [a.choice for a in file.read()] == [*kept, 'equal']


def test_a_whole_line_that_is_no_answer_is_an_error(tmp_path):
    file = AnswerFile(tmp_path / 'a.jsonl')
    file.add(Answer(pair(), 'left'))
    line = json.loads(file.path.read_text())
    for wrong in ({'answer': 'better'}, {'left': ['e0', 2, 1]}, {'right': 'e1'}):
        file.path.write_text(json.dumps(line) + '\n' + json.dumps({**line, **wrong}) + '\n')
        with pytest.raises(EpisodeFileError, match='line 2'):
            file.read()
    file.path.write_text('')
    with pytest.raises(EpisodeFileError, match='apprentice label'):
        read_answers([file.path])
    with pytest.raises(EpisodeFileError, match='no such file'):
        read_answers([tmp_path / 'none.jsonl'])


def _write(path, person):
    for number in range(30):
        AnswerFile(path).add(Answer(pair(number, number + 1), 'left', person))


def test_several_processes_write_to_one_file(tmp_path):
    context = multiprocessing.get_context('fork')
    writers = [context.Process(target=_write, args=(tmp_path / 'a.jsonl', f'p{i}')) for i in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    answers = AnswerFile(tmp_path / 'a.jsonl').read()
    assert len(answers) == 90
    assert len((tmp_path / 'a.jsonl').read_text().splitlines()) == 90


KILLED = """
import sys
from apprentice.episodes.answers import Answer, AnswerFile, Stretch, StretchPair
number = 0
while True:
    pair = StretchPair('pick', Stretch(f'e{number}', 0, 2), Stretch('x', 0, 2))
    AnswerFile(sys.argv[1]).add(Answer(pair, 'left'))
    number += 1
    print(number, flush=True)
"""


def test_a_kill_loses_no_answer_that_was_confirmed(tmp_path):
    path = tmp_path / 'a.jsonl'
    process = subprocess.Popen([sys.executable, '-c', KILLED, str(path)], stdout=subprocess.PIPE, text=True)
    confirmed = 0
    for line in process.stdout:
        confirmed = int(line)
        if confirmed == 15:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    rest = [int(line) for line in process.stdout]
    process.stdout.close()
    assert len(AnswerFile(path).read()) >= (rest or [confirmed])[-1]


def test_a_full_disk_says_so_and_keeps_what_was_there(tmp_path):
    if not os.path.exists('/dev/full'):
        pytest.skip('no /dev/full on this system')
    file = AnswerFile(tmp_path / 'a.jsonl')
    file.add(Answer(pair(), 'left'))
    os.symlink('/dev/full', tmp_path / 'full.jsonl')
    with pytest.raises(OSError):
        AnswerFile(tmp_path / 'full.jsonl').add(Answer(pair(), 'left'))
    assert len(file.read()) == 1
