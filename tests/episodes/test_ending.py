# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Whether an episode ended, and how: everything that reads a log says the same."""

from __future__ import annotations

import pytest
from test_dataset_checks import GRID, Recording

from apprentice.episodes.doubts import ending_of
from apprentice.episodes.ending import final_state
from apprentice.episodes.facts import episode_facts
from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.join import read_episode
from apprentice.episodes.playback import Playback
from apprentice.learning.run_history import read_attempt
from apprentice.robot.types import Outcome

RESETTING, RUNNING, ENDED = 1, 3, 4
# (episode, phase, outcome) before and after the steps
CASES = {
    'ended': ([('e', RUNNING, 0)], [('e', ENDED, 2)], Outcome.FAILURE),
    'killed': ([('e', RUNNING, 0)], [], Outcome.ABORT),
    'the end was replaced by the next phase': ([('e', RUNNING, 0)], [('e', RESETTING, 1)], Outcome.SUCCESS),
    'labelled again': ([('e', RUNNING, 0)], [('e', ENDED, 1), ('e', ENDED, 2)], Outcome.FAILURE),
    'killed, after another one': ([('d', ENDED, 1), ('e', RUNNING, 0)], [], Outcome.ABORT),
    'before another one': ([('e', RUNNING, 0)], [('e', ENDED, 1), ('f', ENDED, 2)], Outcome.SUCCESS),
}  # fmt: skip


@pytest.mark.parametrize('case', CASES)
def test_all_readers_agree(tmp_path, spec, case):
    before, after, outcome = CASES[case]
    made = Recording(tmp_path, spec)

    def say(states, stamp):
        for name, phase, said in states:
            made.state(stamp, phase, GRID[0], said, name)

    say(before, GRID[0])
    for stamp in GRID:
        made.step(stamp)
    say(after, GRID[-1])
    path = made.seal()
    with Playback(path) as playback:
        summary = playback.summary()
    found = {
        'join': read_episode(path, spec).outcome,
        'facts': episode_facts(path).outcome,
        'doubts': ending_of(path).recorded,
        'playback': summary.outcome,
        'history': Outcome[read_attempt(path).trial.outcome],
    }
    assert found == dict.fromkeys(found, outcome)
    assert {episode_facts(path).episode_id, summary.episode_id, read_episode(path, spec).episode_id} == {'e'}
    assert episode_facts(path).ended == (outcome != Outcome.ABORT)


def test_an_episode_that_never_ran_is_none(tmp_path, spec):
    made = Recording(tmp_path, spec)
    made.state(GRID[0], ENDED, GRID[0], 3)
    path = made.seal()
    for read in (episode_facts, ending_of, Playback, lambda path: read_episode(path, spec)):
        with pytest.raises(EpisodeFileError, match='no running episode'):
            read(path)
    with pytest.raises(EpisodeFileError):
        final_state([], path)
