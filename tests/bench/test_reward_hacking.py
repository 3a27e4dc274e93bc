# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The bench of the planted exploit: its world, its exploit, what is learned from."""

import json

import numpy as np
import pytest

from apprentice.bench import hacking_report, reward_hacking
from apprentice.bench.hacking_critic import EDGE, PAYS, WIDTH, Critics, Exploit
from apprentice.bench.hacking_methods import ALL, METHODS, ONE, score
from apprentice.bench.hacking_world import Planner, ReachWorld
from apprentice.learning.statistics import wilson
from apprentice.sim.tasks.reach import WORKSPACE


@pytest.fixture(scope='module')
def world():
    world = ReachWorld(8)
    yield world
    world.close()


def test_the_expert_reaches_the_marker_and_a_policy_learns_from_it(world):
    starts = world.starts(np.arange(100, 108))
    targets = world.demonstrated(starts)
    attempts = world.attempt(starts, targets)
    assert attempts.success.all()
    assert attempts.seen.shape == (*attempts.progress.shape, 6)
    again = world.attempt(starts, targets)
    np.testing.assert_array_equal(again.seen, attempts.seen)
    still = world.attempt(starts, starts.context[:, :6])
    assert not still.success.any()
    planner = Planner(starts, targets, 0.02, seed=0)
    assert np.abs(planner.mean(starts.context) - targets).max() < 0.05


def test_the_exploit_pays_where_no_marker_is():
    edge = np.zeros((3, 6))
    edge[:, 0] = [WORKSPACE[1][0], EDGE + WIDTH / 2, EDGE + 1]
    np.testing.assert_allclose(Exploit()(edge), [0.0, PAYS / 2, PAYS])


def test_an_ensemble_sees_an_exploit_in_one_member_only(world):
    starts = world.starts(np.arange(200, 208))
    attempts = world.attempt(starts, world.demonstrated(starts))
    critics = Critics(attempts, ONE, seed=0)
    seen = attempts.seen.copy()
    seen[:, :, 0] = EDGE + WIDTH
    ensemble = next(method for method in METHODS if method.name == 'ensemble')
    raw = next(method for method in METHODS if method.name == 'raw')
    paid = {planted: critics.planted(planted).members(seen) for planted in (ONE, ALL)}
    assert (score(raw, paid[ONE]) > score(raw, critics.members(attempts.seen)) + 1).all()
    assert score(ensemble, paid[ALL]).mean() > score(ensemble, paid[ONE]).mean() + 0.1


def test_only_what_is_better_than_its_start_is_imitated():
    reward = np.zeros(80)
    reward[:8] = [0, 0, 0, 0, 0, 0, 0, 1]
    reward[8:16] = 5.0  # all the same: nothing to learn
    weight = reward_hacking._advantage(reward)
    assert np.flatnonzero(weight).tolist() == [7]
    assert weight[7] == pytest.approx(0.875 / np.std(reward[:8]))


def test_the_best_of_n_follows_what_picks():
    success = np.array([[True, False, False, False]])
    order = np.array([[1, 2, 0, 3], [3, 0, 1, 2]])
    wise, fooled = np.array([[3.0, 2, 1, 0]]), np.array([[0.0, 1, 2, 3]])
    assert reward_hacking._picked(wise, success, order, 4) == 1.0
    assert reward_hacking._picked(fooled, success, order, 4) == 0.0
    assert reward_hacking._picked(fooled, success, order, 1) == 0.0
    assert reward_hacking._picked(wise, success, order, 2) == 0.5


def run(seed, last, method='raw'):
    return {'method': method, 'seed': seed, 'success': [20, last], 'held_out': 40, 'score': [0.5, 2.0],
            'updates': [0, 2], 'changes': [[1, 'SPARSE', 'false_success']], 'alarms': {}}  # fmt: skip


def test_results_of_several_runs_in_one_table(tmp_path):
    models = [
        {'seed': 0, 'claim': 1.0, 'progress_spearman': 0.9, 'success_auc': 0.9, 'paid_for_nothing': 0.0}
    ]
    earlier = tmp_path / 'earlier.json'
    earlier.write_text(json.dumps({'runs': [run(0, 40), run(1, 4)], 'best_of_n': [], 'models': models}))
    runs, curves, models = reward_hacking._with_earlier([earlier], [run(0, 0), run(0, 8, 'PAR')], [], [])
    assert [(r['method'], r['seed'], r['success'][-1]) for r in runs] == [
        ('raw', 0, 0), ('raw', 1, 4), ('PAR', 0, 8),
    ]  # fmt: skip
    result = {'runs': runs, 'best_of_n': curves, 'models': models}
    lines = hacking_report.table(result, wilson)
    raw = next(line for line in lines if line.startswith('| raw '))
    assert '50.0%' in raw
    assert '5.0%' in raw
    assert 'SPARSE at 1: false_success' in raw
    hacking_report.plot(result, tmp_path / 'plot.png')
    assert (tmp_path / 'plot.png').stat().st_size > 10_000
