# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""`apprentice reward`: from a question to a loaded reward model, with a scripted language model over HTTP."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'learning'))
from clone_rig import ROBOT, make_episode
from scripted_llm import KEY, ScriptedServer, fenced, last

from apprentice.bench.mpc import TERMS
from apprentice.cli import main
from apprentice.episodes.episode_writer import write_episode
from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.ledger import Ledger
from apprentice.reward_models.programs.model import TermsReward

REACH = ['--sim-task', 'reach', '--instruction', 'reach the red marker', '--golden', '9']


def test_recorded_episodes_are_scored_once(tmp_path, capsys):
    write_episode(tmp_path / 'episodes', make_episode(3), ROBOT)
    for new in (12, 0):
        assert main.main(['reward', 'score', str(tmp_path)]) == 0
        assert f'{new} new scores of critic; 1 of 1 episodes have some' in capsys.readouterr().out
    assert Ledger(tmp_path / 'rewards.jsonl').episodes  # of the run whose episodes they are


def test_what_cannot_be_scored_is_an_error(tmp_path, capsys):
    assert main.main(['reward', 'score', str(tmp_path)]) == 2
    assert 'no episode files' in capsys.readouterr().err
    write_episode(tmp_path, make_episode(3), ROBOT)
    assert main.main(['reward', 'score', str(tmp_path), '--stride-s', '0']) == 2
    assert main.main(['reward', 'score', str(tmp_path), '--model', 'json:JSONDecoder']) == 2
    assert 'json:JSONDecoder is no reward model' in capsys.readouterr().err
    assert main.main(['reward', 'score', str(tmp_path), '--robot', 'example_ur5e']) == 1
    assert '0 of 1 episodes have some' in capsys.readouterr().out
    assert not (tmp_path / 'rewards.jsonl').exists()


@pytest.fixture
def environment(monkeypatch):
    for name in ('URL', 'MODEL'):
        monkeypatch.delenv(f'APPRENTICE_LLM_{name}', raising=False)
    monkeypatch.setenv('APPRENTICE_LLM_KEY', KEY)


def test_write_show_approve_and_load(tmp_path, environment, monkeypatch, capsys):
    folder = str(tmp_path / 'reward')
    wrong = json.dumps([{'residual': 'distance', 'of': ['tip', 'marker_pink']}])
    away = json.dumps([{'residual': 'distance', 'of': ['tip', 'marker_red'], 'target': 1}])
    good = json.dumps(TERMS['reach'])
    with ScriptedServer(*(fenced('json', text) for text in (wrong, away, good)), 'ACCEPT') as server:
        monkeypatch.setenv('APPRENTICE_LLM_URL', server.url)
        monkeypatch.setenv('APPRENTICE_LLM_MODEL', 'scripted')
        assert main.main(['reward', 'write', *REACH, '--out', folder]) == 0
        assert "nothing measures 'marker_pink'" in last(server.asked[1])
        assert 'fails its tests on simulated episodes' in last(server.asked[2])
        assert 'ordering: success above near miss 0%' in last(server.asked[2])
        assert len(server.asked) == 4
    out = capsys.readouterr().out
    assert '4 questions asked, 0 answered' in out
    assert 'passed  ordering' in out
    assert f'apprentice reward approve {folder} --by NAME' in out
    assert all(KEY not in path.read_text() for path in Path(folder).rglob('*.*') if path.is_file())

    with pytest.raises(RewardModelError, match='nobody approved'):
        TermsReward.load(folder)
    assert main.main(['reward', 'approve', folder, '--by', 'Ada']) == 0
    assert main.main(['reward', 'show', folder]) == 0
    assert 'approved by Ada' in capsys.readouterr().out
    assert TermsReward.load(folder).needs.state == ('joint_velocity', 'marker_red', 'tip')

    source = Path(folder) / 'terms.json'
    source.write_text(source.read_text().replace('"marker_red"]', '"marker_red"], "target": 1', 1))
    assert main.main(['reward', 'check', folder, *REACH]) == 1
    assert 'FAILED  ordering' in capsys.readouterr().out
    assert main.main(['reward', 'approve', folder, '--by', 'Ada']) == 2
    assert 'failed its admission tests: units, ordering' in capsys.readouterr().err


def test_without_an_endpoint_it_says_what_to_set(tmp_path, environment, capsys):
    assert main.main(['reward', 'write', *REACH, '--out', str(tmp_path)]) == 2
    assert 'set APPRENTICE_LLM_URL (such as http://127.0.0.1:8080/v1)' in capsys.readouterr().err
