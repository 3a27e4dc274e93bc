# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""`apprentice bench mpc`: its rows measure what they say."""

from __future__ import annotations

import argparse

import pytest

from apprentice.bench import mpc
from apprentice.cli.bench import benches
from apprentice.robot.parts import load_part


def test_it_is_found_and_compares_with_the_expert_and_with_doing_nothing():
    assert benches()['mpc'][2]
    parser = argparse.ArgumentParser()
    mpc.add_arguments(parser)
    cases = mpc.cases(parser.parse_args(['--trials', '1', '--samples', '8', '--threads', '1']))
    assert [case.title for case in cases] == ['reach by MPC', 'pick by MPC']
    for case in cases:
        expert, idle, ours = case.contestants
        assert load_part(expert.function)(**expert.parameters)['value'] == 1.0
        assert load_part(idle.function)(**idle.parameters)['value'] == 0.0
        assert ours.parameters['planner']['samples'] == 8
        assert case.ratios[0].ours == ours.name


def test_the_planner_is_measured_on_the_benchs_own_starts(monkeypatch):
    monkeypatch.setattr(mpc, 'FIRST_SEED', 3)
    planner = {'samples': 10, 'horizon_s': 0.4, 'knots': 2, 'noise': 0.2}
    row = mpc.planned('reach', 1, planner, 1)
    assert row['value'] == 1.0
    assert row['count'] == 1
    assert row['also']['progress'] == pytest.approx(1.0)
    assert row['also']['plans/s'] > 0
    assert row['also']['plans/CPU s'] > 0
