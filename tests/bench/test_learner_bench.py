# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The bench of the learner: what it measures runs, and peers' scripts are where it says."""

from __future__ import annotations

import argparse

import pytest

from apprentice.bench import environments, learner

SMALL = {'batch': 16, 'feature': 8, 'width': 16, 'seconds': 0.02}


def test_the_cases_name_what_is_there():
    parser = argparse.ArgumentParser()
    learner.add_arguments(parser)
    options = parser.parse_args([])
    options.seconds = 1.0
    cases = learner.cases(options)
    contestants = [contestant for case in cases for contestant in case.contestants]
    scripts = {contestant.script for contestant in contestants if contestant.peer}
    assert scripts == {'stable_baselines3_sac', 'lerobot_sac'}
    assert all((environments.PEERS / f'{script}.py').exists() for script in scripts)
    for case in cases:
        names = {contestant.name for contestant in case.contestants}
        assert all({ratio.ours, ratio.peer} <= names for ratio in case.ratios)


@pytest.mark.parametrize('function', [learner.core, learner.loop])
def test_chunks_are_measured(function):
    assert function(members=2, candidates=3, **SMALL)['value'] > 0


@pytest.mark.parametrize('like', ['stable_baselines3', 'lerobot'])
def test_sac_is_measured(like):
    assert learner.sac(like=like, **SMALL)['value'] > 0
