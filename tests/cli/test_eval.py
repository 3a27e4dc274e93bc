# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""``apprentice eval``: one policy, one task, one line; options of the suite are refused."""

import json

import pytest

from apprentice.cli.main import main


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--tasks', 'reach'], 'use --sim-task'),
        (['--levels', 'mild'], 'use --randomization'),
        (['--films', '2'], 'eval suite'),
        (['--out', 'somewhere'], 'eval suite'),
        (['--robot', 'nonesuch'], 'sim_humanoid'),
        (['--robot', 'sim_humanoid'], 'sim_arm'),  # found, and refused by the policy
        (['no_such_policy'], 'weights/no_such_policy'),
        (['--workers', '-1'], '-1 workers'),
        (['suite', '--head', 'fast'], 'with the head of the policy'),
        (['--head', 'fast', '--trials', '1', '--workers', '1'], 'no token head'),
    ],
)
def test_what_cannot_be_used_is_an_error(capsys, words, message):
    assert main(['eval', *words]) == 2
    assert message in capsys.readouterr().err


def test_a_shipped_policy_and_robot_by_name(capsys):
    words = 'eval policy --robot sim_arm --sim-task pick --trials 2 --workers 1 --json'
    assert main(words.split()) == 0
    result = json.loads(capsys.readouterr().out)
    assert result['trials'] == 2
    assert result['about']['name'] == 'behaviour cloning'
    assert 0 <= result['successes'] <= 2
