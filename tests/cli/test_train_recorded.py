# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""``apprentice train critic --data``: a progress critic from recordings."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'learning'))
from clone_rig import ROBOT, make_episode

from apprentice.bench.reward_truths import recorded
from apprentice.cli.main import main
from apprentice.cli.train_recorded import divided
from apprentice.episodes.episode_writer import write_episode
from apprentice.learning.reward_gate import verdict_files
from apprentice.reward_models.critic.critic import ProgressCritic
from apprentice.reward_models.evaluation import verdict
from apprentice.reward_models.online import score_episode
from apprentice.robot.types import Outcome


def record(folder: Path, successes: int, failures: int, evaluations: int = 0) -> None:
    """A square crosses the picture of every camera; it stops half way where the episode fails."""
    for number in range(successes + failures + evaluations):
        episode = make_episode(number, length=24)
        good = not successes <= number < successes + failures
        shift = np.linspace(0, 40 if good else 15, 24).astype(int)
        for frames in episode.images.values():
            frames[:] = 60
            for row, x in enumerate(shift):
                frames[row, 20:36, 4 + x : 20 + x] = (230, 40, 40)
        outcome = Outcome.SUCCESS if good else Outcome.FAILURE
        held_out = number >= successes + failures
        made = dataclasses.replace(episode, outcome=outcome, eval_only=held_out)
        write_episode(folder / 'episodes', made, ROBOT)


def test_a_critic_of_ones_own_recordings(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('APPRENTICE_CACHE', str(tmp_path / 'cache'))
    record(tmp_path / 'run', 10, 5, 2)
    run = tmp_path / 'run'  # given twice, it is read once: what judges must not train
    words = ['train', 'critic', '--data', str(run), str(run / 'episodes'), '--out', str(tmp_path / 'critic')]
    assert main([*words, '--steps', '40', '--threads', '1', '--robot', 'sim_arm']) == 0
    out = capsys.readouterr().out
    assert '9 recordings to train on, 3 to calibrate, 3 to judge' in out  # and no evaluation
    assert 'Held out from the shipped critic' not in out
    critic = ProgressCritic.load(tmp_path / 'critic')
    assert verdict.read(tmp_path / 'critic' / verdict.FILE).version == critic.version
    assert [verdict.read(path).version for path in verdict_files()[:1]] == [critic.version]  # for the learner
    assert '--data' in (tmp_path / 'critic' / 'README.md').read_text()
    assert not (tmp_path / 'critic.training').exists()
    (seen,) = recorded(tmp_path / 'run' / 'episodes' / 'episode-0004.mcap', ROBOT, 5.0)
    found = score_episode(critic, seen.frames, seen.stamps.tolist(), seen.text)
    assert found[-1].progress > found[1].progress + 0.2


def test_too_few_successes_are_an_error(tmp_path, capsys):
    assert main(['train', 'critic', '--data', str(tmp_path)]) == 2
    assert 'holds the shipped critic' in capsys.readouterr().err
    record(tmp_path, 2, 3)
    assert main(['train', 'critic', '--data', str(tmp_path), '--out', str(tmp_path / 'critic')]) == 2
    assert '2 of 5 recordings are successes' in capsys.readouterr().err
    assert not (tmp_path / 'critic').exists()


def test_pictures_keep_what_is_asked_for(tmp_path):
    record(tmp_path, 5, 1)
    items = recorded(tmp_path / 'episodes', ROBOT, 5.0, side=32)
    assert {item.frames.shape[2:] for item in items} == {(32, 32, 3)}
    assert [len(part) for part in divided(items)] == [4, 1, 1]
    failed = items[-1]
    np.testing.assert_array_equal(failed.reference, items[0].frames)
    with pytest.raises(ValueError, match='no episode with an outcome'):
        recorded(tmp_path / 'episodes', ROBOT, 5.0, keep=lambda episode: False)
