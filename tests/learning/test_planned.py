# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Reward terms drive the simulated arm; golden buffers of the simulator admit good terms and no others."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import numpy as np
import pytest

from apprentice.bench import mpc as bench
from apprentice.learning.golden import golden_buffer
from apprentice.learning.planned import Planned, PlannedConfig, cost_of, timed_expert, trial
from apprentice.reward_models.programs.admission import AdmissionConfig, admit, with_ranges
from apprentice.reward_models.programs.folder import Written
from apprentice.reward_models.programs.forms import make_form
from apprentice.reward_models.programs.task import RewardTask, described
from apprentice.sim.mpc import PlannerConfig

REACH = PlannedConfig(PlannerConfig(samples=10, horizon_s=0.4, knots=2, noise=0.2))
SEED = 3


def program(name: str, golden) -> Written:
    examples = {n: np.concatenate([e.state[n] for e in golden]) for n in golden[0].state}
    task = RewardTask(bench.TASKS[name], described(examples), 'sim_arm')
    return with_ranges(Written('terms', json.dumps(bench.TERMS[name]), task, (0.0, 1000.0)), golden)


@pytest.fixture(scope='module')
def reach():
    spec, task = bench.setup('reach')
    golden = golden_buffer(spec, bench.TASKS['reach'], range(9), task)
    return spec, task, golden, program('reach', golden)


def test_terms_reach_the_marker_where_doing_nothing_does_not(reach):
    spec, task, _, written = reach
    found = trial(written, spec, [SEED], REACH, task)
    assert found.success == 1.0
    assert found.episodes == 1
    curve = found.curves['distance_tip_marker_red']
    assert len(curve) == 10
    assert curve[-1] < 0.2 * curve[0]
    assert timed_expert(spec, [SEED], bench.TASKS['reach'], True, task)['success'] == 0.0


def test_a_cost_for_the_contrary_does_not_reach_it(reach):
    spec, task, _, written = reach
    form = make_form('terms', written.source, written.task.sizes)
    backwards = cost_of(form)
    config = replace(REACH, max_duration_s=1.5)
    with contextlib.closing(Planned(spec, lambda state: -backwards(state), config, task)) as planned:
        episode = planned.run(SEED, bench.TASKS['reach'])
    assert not episode.success
    assert episode.progress < 0.2
    assert episode.plans_hz > 0


def test_hand_typed_terms_are_admitted_by_the_simulator_and_contrary_ones_are_not(reach):
    _, _, golden, written = reach
    assert {e.label for e in golden} == {'success', 'near_miss', 'failure'}
    config = AdmissionConfig(latency_ms=500.0, calls=20)
    checks, locks = admit(written, golden, config)
    assert not [(check.name, check.found) for check in checks if not check.passed]
    assert locks == {}, 'terms execute nothing'
    away = [{'residual': 'distance', 'of': ['tip', 'marker_red'], 'target': 1.0}]
    checks, _ = admit(replace(written, source=json.dumps(away)), golden, config)
    failed = [check.name for check in checks if not check.passed]
    assert failed == ['units', 'ordering'], 'a target of 1 m, or was it meant to be 1 mm?'


def test_a_golden_buffer_needs_successes_and_failures():
    spec, task = bench.setup('reach')
    with pytest.raises(ValueError, match='give more seeds'):
        golden_buffer(spec, bench.TASKS['reach'], range(1), task)
    with pytest.raises(ValueError, match='names no colour'):
        golden_buffer(spec, 'sing', range(3), task)
