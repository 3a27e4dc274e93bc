# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A scripted language model writes rewards: errors go back, a critic reads, trials choose, work resumes."""

from __future__ import annotations

import json
from dataclasses import replace

import golden_rig as rig
import pytest
from scripted_llm import ScriptedServer, fenced, last

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.programs.author import Author, AuthorConfig, AuthorError, block
from apprentice.reward_models.programs.journal import Journal
from apprentice.reward_models.programs.reflection import Trial, table
from apprentice.reward_models.programs.syntax import ProgramError

TASK = rig.written(rig.GOOD).task
TERMS = fenced('json', json.dumps({'terms': rig.TERMS}))
WRONG = fenced('json', json.dumps({'terms': [{'residual': 'hight', 'of': ['cube_red']}]}))
PYTHON = fenced('python', rig.GOOD.strip())


def author(server, folder, probe=None, **config) -> Author:
    settings = AuthorConfig(**{'critics': 0, **config})
    return Author(TASK, server.endpoint(), Journal(folder), settings, probe)


def test_the_question_shows_the_task_as_typed_stubs(tmp_path):
    with ScriptedServer(TERMS) as server:
        author(server, tmp_path).search()
        system, user = (message['content'] for message in server.asked[0])
    assert 'distance (2): Distance between two things (m)' in system
    assert 'smooth_abs' in system
    assert 'cube_red: np.ndarray  # [N, 7] pose: x y z (m, base frame, z up)' in user
    assert 'Instruction: pick up the red cube' in user


def test_errors_go_back_until_the_reply_is_right(tmp_path):
    with ScriptedServer('I would rather not.', WRONG, TERMS) as server:
        found = author(server, tmp_path).search()
        assert 'no block between ```json' in last(server.asked[1])
        assert "terms[0].residual 'hight' is not there; use one of" in last(server.asked[2])
        assert [m['role'] for m in server.asked[2]] == [
            'system',
            'user',
            'assistant',
            'user',
            'assistant',
            'user',
        ]
    assert json.loads(found.best.program.source) == {'terms': rig.TERMS}


def test_retries_are_bounded(tmp_path):
    with ScriptedServer(WRONG) as server:
        with pytest.raises(AuthorError, match=r"no usable reward after 3 replies; the last: .*'hight'"):
            author(server, tmp_path, retries=2).search()
        assert len(server.asked) == 3


def test_forbidden_python_goes_back_too(tmp_path):
    bad = fenced('python', 'import os\n' + rig.GOOD.strip())
    with ScriptedServer(bad, PYTHON) as server:
        found = author(server, tmp_path, form='python', bounds=(-10.0, 10.0)).search()
        assert 'Import may not be used; np and math are there already' in last(server.asked[1])
    assert found.best.program.form == 'python'
    assert found.best.program.bounds == (-10.0, 10.0)


def test_a_draft_is_tried_on_examples_before_it_counts(tmp_path):
    tried = []

    def probe(program):
        tried.append(program)
        if len(tried) == 1:
            raise RewardModelError('ordering: successes are worth less than failures')

    with ScriptedServer(TERMS) as server:
        author(server, tmp_path, probe).search()
        assert 'ordering: successes are worth less' in last(server.asked[1])


def test_the_critic_sends_back_once(tmp_path):
    with ScriptedServer(TERMS, 'REVISE\nlift is never reached', TERMS, 'never asked') as server:
        author(server, tmp_path, critics=1).search()
        assert len(server.asked) == 3
        assert 'The reply to check' in last(server.asked[1])
        assert 'a reviewer says: REVISE\nlift is never reached' in last(server.asked[2])
    with ScriptedServer(TERMS, 'ACCEPT') as server:
        author(server, tmp_path / 'accepted', critics=1).search()
        assert len(server.asked) == 2


def variant(weight: float) -> str:
    return fenced('json', json.dumps({'terms': [{**rig.TERMS[0], 'weight': weight}]}))


def success_is_the_weight(program) -> Trial:
    weight = json.loads(program.source)['terms'][0]['weight']
    return Trial(weight / 10, {'distance': [3.0 - 0.1 * i for i in range(25)]}, [weight / 10] * 3, 3)


def test_the_best_of_samples_and_iterations_wins_and_the_rest_is_forgotten(tmp_path):
    replies = [variant(2), variant(5), WRONG, WRONG, variant(8), variant(3)]
    with ScriptedServer(*replies) as server:
        searched = author(server, tmp_path, samples=2, iterations=3, retries=1)
        found = searched.search(success_is_the_weight)
        third = server.asked[2]
    assert found.trial.success == 0.8
    assert [each.get('success') for each in found.history] == [0.2, 0.5, None, 0.8, 0.3, 0.3]
    assert "'hight'" in found.history[2]['error']
    assert [message['role'] for message in third] == ['system', 'user', 'assistant', 'user']
    assert '"weight": 5' in third[2]['content'], 'only the best reply stays in the context'
    assert 'distance: [3, 2.7, 2.5' in third[3]['content']
    assert 'Success at the end: 50%' in third[3]['content']
    assert json.loads((tmp_path / 'search.json').read_text())['best'] == found.best.program.sha256


def test_a_search_goes_on_where_it_was_cut_off(tmp_path):
    class Cut(Exception):
        pass

    trials = []

    def cut_off(program):
        trials.append(program)
        if len(trials) == 2:
            raise Cut
        return success_is_the_weight(program)

    with ScriptedServer(variant(2), variant(5), variant(4)) as server:
        with pytest.raises(Cut):
            author(server, tmp_path, samples=3).search(cut_off)
        again = author(server, tmp_path, samples=3)
        found = again.search(cut_off)
        assert len(server.asked) == 3
    assert (again.journal.asked, again.journal.reused) == (1, 2)
    assert len(trials) == 4, 'the first trial is not run again'
    assert found.trial.success == 0.5


def test_what_a_person_saw_is_told(tmp_path):
    with ScriptedServer(variant(2), variant(6)) as server:
        found = author(server, tmp_path).search(human=['it pushes the cube off the table'])
        told = server.asked[1]
    assert 'says: it pushes the cube off the table' in last(told)
    assert '"weight": 2' in told[2]['content']
    assert json.loads(found.best.program.source)['terms'][0]['weight'] == 6


def test_reflection_table():
    text = table(Trial(0.5, {'reach': [float(i) for i in range(100)]}, [0.0, 0.5]))
    assert text.splitlines()[0] == 'reach: [0, 11, 22, 33, 44, 55, 66, 77, 88, 99], max 99, mean 49.5, min 0'
    assert text.splitlines()[1] == 'success: [0, 0.5], max 0.5, mean 0.25, min 0'


def test_blocks():
    assert block('[1]', 'terms') == '[1]\n'
    assert block('a ```json\n[1]\n``` b ```json\n[2]\n```', 'terms') == '[2]\n'
    assert block('```py\nx = 1\n```', 'python') == 'x = 1\n'
    with pytest.raises(ProgramError):
        block('```bash\nrm\n```', 'python')


def test_the_hash_covers_what_decides():
    program = rig.written(rig.GOOD)
    others = [
        replace(program, bounds=(-9.0, 10.0)),
        replace(program, source=program.source + '\n'),
        replace(program, task=replace(program.task, instruction='x')),
    ]
    assert len({each.sha256 for each in [program, *others]}) == 4
