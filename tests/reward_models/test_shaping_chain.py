# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Which shaping changes what is best, by exact dynamic programming through our transforms.

The chain: states 0..9 with potential s/10, one step forward or staying, and from state 9 a risky last step
that succeeds with probability p (+1, terminal, potential 1) or falls back to state 0.
"""

import numpy as np
import pytest

from apprentice.reward_models.base import Trajectory
from apprentice.reward_models.shaping.pipeline import PartConfig, Shaping, ShapingConfig

N = 10
PHI = np.arange(N + 1) / N  # the last one is success
POTENTIAL = Shaping()
NONE = Shaping(ShapingConfig(transforms=()))
KEPT = 'kept'  # potential-based, but not zeroed at terminals: what goes wrong


def reward(shaping, before, after, gamma, terminal=False, outcome=float('nan')):
    """Reward of one transition between potentials, made by the transforms."""
    phi = np.array([before, after])
    sparse = np.array([outcome if terminal else 0.0])
    if shaping == KEPT:
        # a true terminal treated as a time-out
        return POTENTIAL(Trajectory(phi, terminal=False, sparse=sparse, discount=gamma))[0]
    process = np.array([after - before]) if shaping == 'raw' else None
    made = NONE if shaping in ('raw', 'sparse') else POTENTIAL
    trajectory = Trajectory(
        phi, terminal=terminal, outcome=outcome, process=process, sparse=sparse, discount=gamma
    )
    return made(trajectory)[0]


def solve(shaping, gamma, p):
    """(values [N] of the best policy, whether state 9 attempts the last step), exact to 1e-12."""
    forward = [reward(shaping, PHI[s], PHI[s + 1], gamma) for s in range(N - 1)]
    stay = [reward(shaping, PHI[s], PHI[s], gamma) for s in range(N)]
    success = reward(shaping, PHI[9], PHI[10], gamma, terminal=True, outcome=1.0)
    fall = reward(shaping, PHI[9], PHI[0], gamma)

    def values(attempts):
        # linear: V = r + gamma P V for the policy that walks forward and then attempts or stays
        transition, r = np.zeros((N, N)), np.zeros(N)
        for s in range(N - 1):
            transition[s, s + 1], r[s] = 1.0, forward[s]
        if attempts:
            transition[9, 0], r[9] = 1 - p, p * success + (1 - p) * fall
        else:
            transition[9, 9], r[9] = 1.0, stay[9]
        return np.linalg.solve(np.eye(N) - gamma * transition, r)

    trying, parking = values(True), values(False)
    best = np.maximum(trying, parking)
    # walking forward is not worse than staying anywhere, so these two policies are the candidates
    assert all(forward[s] + gamma * best[s + 1] >= stay[s] + gamma * best[s] - 1e-12 for s in range(N - 1))
    return best, bool(trying[9] > parking[9] + 1e-12)


GRID = np.arange(1, 201) * 0.005


@pytest.mark.parametrize(('gamma', 'least'), [(0.9, 0.245), (0.95, 0.155), (0.98, 0.075), (0.99, 0.04)])
def test_raw_progress_refuses_the_risky_step(gamma, least):
    """Paid for raw gains of potential, the best policy parks at 0.9 until success is likely enough."""
    attempts = np.array([solve('raw', gamma, p)[1] for p in GRID])
    assert GRID[np.argmax(attempts)] == pytest.approx(least)
    assert not attempts[: np.argmax(attempts)].any()
    assert attempts[np.argmax(attempts) :].all()


@pytest.mark.parametrize('gamma', [0.9, 0.95, 0.98, 0.99])
def test_potential_shaping_attempts_whenever_sparse_does(gamma):
    for p in GRID:
        sparse, attempts = solve('sparse', gamma, p)
        shaped, also = solve('pbrs', gamma, p)
        assert attempts
        assert also
        np.testing.assert_allclose(shaped, sparse - PHI[:N], atol=1e-10)  # Ng et al.: V' = V - Phi


def test_a_failure_terminal_must_not_keep_its_potential():
    """From Phi 0.5: end at once in a failure that looks like 0.8, or really try (risky last step, p 0.07)."""
    gamma, p = 0.98, 0.07

    def give_up(shaping):
        return reward(shaping, 0.5, 0.8, gamma, terminal=True, outcome=0.0)

    trying = {name: solve(name, gamma, p)[0][5] for name in (KEPT, 'pbrs', 'sparse')}
    assert give_up(KEPT) == pytest.approx(0.284)
    assert give_up('pbrs') == pytest.approx(-0.500)
    assert give_up(KEPT) > trying[KEPT]  # keeping it, giving up is best
    assert give_up('pbrs') < trying['pbrs']  # zeroing restores the order
    chance = p / (1 - (1 - p) * gamma**10)  # from 9: succeed, or come back in 10 steps
    assert trying['sparse'] == pytest.approx(gamma**4 * chance)
    assert trying['pbrs'] == pytest.approx(trying['sparse'] - 0.5)
    # success pays its potential once more, discounted one step further
    assert trying[KEPT] == pytest.approx((1 + gamma) * trying['sparse'] - 0.5)


def test_a_time_out_keeps_its_potential_so_that_bootstrapping_is_exact():
    """Cut after any number of steps, the shaped return plus the bootstrapped value is the same."""
    gamma = 0.95
    values, _ = solve('pbrs', gamma, 0.5)
    for length in range(1, N - 1):
        item = Trajectory(PHI[: length + 1], terminal=False, discount=gamma)
        cut = sum(gamma**t * r for t, r in enumerate(POTENTIAL(item)))
        assert cut + gamma**length * values[length] == pytest.approx(values[0])


def test_scaled_potentials_leave_the_choice_too():
    part = 'apprentice.reward_models.shaping.potential:PotentialShaping'
    strong = Shaping(ShapingConfig(transforms=(PartConfig(part, {'scale': 20.0}),)))
    gamma, p = 0.98, 0.02
    success = strong(Trajectory(PHI[9:11], terminal=True, outcome=1.0, discount=gamma))[0]
    fall = strong(Trajectory(PHI[[9, 0]], discount=gamma))[0]
    walk = [strong(Trajectory(PHI[s : s + 2], discount=gamma))[0] for s in range(9)]
    way = sum(gamma**t * r for t, r in enumerate(walk))
    # V(9) = p success + (1 - p) (fall + gamma (way + gamma^9 V(9)))
    attempt = (p * success + (1 - p) * (fall + gamma * way)) / (1 - (1 - p) * gamma**10)
    stay = strong(Trajectory(PHI[[9, 9]], discount=gamma))[0] / (1 - gamma)
    assert attempt > stay
