# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Every transform does what its equation says, and YAML composes them."""

import numpy as np
import pytest
import yaml

from apprentice.reward_models.base import RewardModelError, RewardTransform, Trajectory
from apprentice.reward_models.shaping.clip import Clip
from apprentice.reward_models.shaping.delta import Delta
from apprentice.reward_models.shaping.gated import GatedAccumulation
from apprentice.reward_models.shaping.normalise import Moments, Normalise
from apprentice.reward_models.shaping.par import PreferenceAsReward
from apprentice.reward_models.shaping.pipeline import Shaping, ShapingConfig
from apprentice.reward_models.shaping.potential import PotentialShaping
from apprentice.reward_models.shaping.renorm import ReNorm
from apprentice.robot.settings import from_dict

SHAPING = 'apprentice.reward_models.shaping'


def steps(length=4, **more):
    return Trajectory(potential=np.linspace(0.1, 0.9, length + 1), **more)


def pipeline(text):
    return Shaping(from_dict(ShapingConfig, yaml.safe_load(text)))


@pytest.mark.parametrize('gamma', [1.0, 0.9])
@pytest.mark.parametrize('terminal', [False, True])
def test_potential_shaping_telescopes(gamma, terminal):
    rng = np.random.default_rng(0)
    phi = rng.random(21)
    shaped = PotentialShaping(0.5)(np.zeros(20), Trajectory(phi, terminal=terminal, discount=gamma))
    total = sum(gamma**t * r for t, r in enumerate(shaped))
    assert total == pytest.approx(0.5 * (gamma**20 * phi[-1] * (not terminal) - phi[0]))


def test_a_round_trip_earns_nothing_under_potentials_and_something_under_raw_gain_with_trust_that_changes():
    phi = np.array([0.2, 0.8, 0.2])
    assert PotentialShaping()(np.zeros(2), Trajectory(phi)).sum() == pytest.approx(0.0)
    weights = np.array([1.0, 0.5])  # what a trust that differs between two steps would do
    assert (weights * PotentialShaping()(np.zeros(2), Trajectory(phi))).sum() > 0.2


def test_a_potential_outside_the_unit_interval_is_refused():
    for wrong in (np.nan, 1.2, -0.1):
        with pytest.raises(RewardModelError, match='not everywhere in'):
            PotentialShaping()(np.zeros(1), Trajectory(np.array([0.5, wrong])))


def test_par_is_bounded_centred_and_flat_for_an_exploit():
    par = PreferenceAsReward({'pick *': [1.0, 3.0], 'pick up the blue *': [100.0]}, steepness=1.0)
    item = Trajectory(np.zeros(4), text='pick up the red cube')
    low, middle, exploit = par(np.array([-1e6, 2.0, 1e6]), item)
    assert (low, middle, exploit) == pytest.approx((0.0, 0.5, 1.0))
    worth = par(np.array([4.0, 30.0, 300.0]), item)
    assert worth[2] - worth[1] < 1e-9 < worth[1] - worth[0]
    assert par(np.array([100.0]), Trajectory(np.zeros(2), text='pick up the blue cube'))[0] == 0.5
    with pytest.raises(RewardModelError, match='no reference scores'):
        par(np.zeros(1), Trajectory(np.zeros(2), text='wipe'))


def padded(n, shaped):
    """Return when a good step (0.9) is repeated n times before the task is finished."""
    scores = np.array([0.9] * (1 + n) + [0.8])
    return float(shaped(scores, Trajectory(np.zeros(len(scores) + 1))).sum())


def test_clip_and_delta_stop_paying_for_padding():
    shapings = {
        'raw': lambda r, t: r,
        'clip': Clip(0.9),
        'delta': Delta(),
        'both': lambda r, t: Delta()(Clip(0.9)(r, t), t),
    }
    returns = {name: [padded(n, shaped) for n in (0, 5, 16)] for name, shaped in shapings.items()}
    assert returns['raw'][2] > returns['raw'][0] + 14
    for name in ('clip', 'delta', 'both'):
        assert np.ptp(returns[name]) < 1e-9, name
    assert all(Clip(0.5)(np.array([0.2, 0.5, 0.9]), steps(3)) <= 0)


def test_delta_makes_the_return_from_a_step_on_its_score():
    scores = np.array([0.3, 0.1, 0.7, 0.2])
    np.testing.assert_allclose(np.cumsum(Delta()(scores, steps())[::-1])[::-1], scores)


def busy_or_finish(gated, horizon=12, fault=0.1, bonus=0.25):
    """Exact: completion of the best policy when every busy step pays ``bonus`` and may break the task.

    State (t, busy so far): finish now (completes and ends, paid 1) or be busy (paid, and a fault of 10 %
    ends the episode in failure). All rewards go through the transform when the episode ends.
    """
    gate = GatedAccumulation() if gated else (lambda r, t: r)

    def paid(count, outcome):
        rewards = np.array([bonus] * count + [0.0])
        trajectory = Trajectory(np.zeros(count + 2), terminal=True, outcome=outcome)
        return gate(rewards, trajectory).sum() + trajectory.success_signal().sum()

    value, done = paid(horizon, 0.0), 0.0  # out of time
    for busy in reversed(range(horizon)):
        go_on = (1 - fault) * value + fault * paid(busy + 1, 0.0)
        if paid(busy, 1.0) >= go_on:
            value, done = paid(busy, 1.0), 1.0
        else:
            value, done = go_on, (1 - fault) * done
    return done


def test_gates_keep_small_bonuses_from_eating_the_task():
    assert busy_or_finish(gated=False) == pytest.approx(0.9**11)
    assert busy_or_finish(gated=True) == pytest.approx(0.9**5)


def test_gates_over_other_signals():
    gated = GatedAccumulation({'outcome': 0.5, 'safety': 0.0})
    item = steps(outcome=1.0, signals={'safety': -1.0})
    assert gated(np.ones(4), item).sum() == 0
    assert gated(np.ones(4), steps(outcome=1.0, signals={'safety': 1.0})).sum() == 4
    assert GatedAccumulation()(np.ones(4), steps()).sum() == 0  # the outcome is not known
    with pytest.raises(RewardModelError, match=r"gates ask for \['safety'\]"):
        gated(np.ones(4), steps(outcome=1.0))


def test_renorm_follows_the_outcome_and_the_shortest_solution_wins():
    rng = np.random.default_rng(0)
    for _ in range(100):
        scores = rng.random(rng.integers(1, 20))
        item = Trajectory(np.zeros(len(scores) + 1), outcome=1.0)
        assert np.all(ReNorm()(scores, item) >= 0)
        assert np.all(ReNorm()(scores, Trajectory(item.potential, outcome=0.0)) <= 0)

    def total(length, over_length, gamma=0.99):
        item = Trajectory(np.zeros(length + 1), outcome=1.0)
        rewards = ReNorm(over_length)(np.full(length, 0.8), item)
        return sum(gamma**t * r for t, r in enumerate(rewards))

    assert total(5, True) > total(10, True) > total(40, True)
    assert total(40, False) > total(5, False)  # why the division is there
    with pytest.raises(RewardModelError, match='needs the outcome'):
        ReNorm()(np.ones(4), steps())
    with pytest.raises(RewardModelError, match='scores in'):
        ReNorm()(np.full(4, 2.0), steps(outcome=1.0))


def test_running_moments_equal_those_of_all_values():
    rng = np.random.default_rng(0)
    values = 1e6 + rng.normal(0, 2.0, 1000)
    moments = Moments()
    for part in np.split(values, [1, 10, 11, 500]):
        moments.add(np.append(part, np.nan))
    assert moments.count == 1000
    assert moments.mean == pytest.approx(values.mean())
    assert moments.std == pytest.approx(values.std(ddof=1), rel=1e-6)


def test_normalisation_is_per_instruction_frozen_during_an_update_and_has_a_floor():
    rng = np.random.default_rng(0)
    normalise = Normalise(floor=0.01)
    one, other, still = (steps(100, text=text) for text in ('one', 'other', 'still'))
    wide = rng.normal(10, 100, 100)
    normalise.observe(wide, one)
    normalise.observe(rng.normal(-1, 0.1, 100), other)
    normalise.observe(np.full(100, 3.0), still)
    np.testing.assert_array_equal(normalise(np.array([4.0]), one), [4.0])  # nothing is applied yet
    with normalise.frozen(), pytest.raises(RewardModelError, match='frozen'):
        normalise.refresh()
    normalise.refresh()
    assert normalise(np.array([110.0]), one)[0] == pytest.approx(1.0, abs=0.3)
    assert normalise(np.array([-0.9]), other)[0] == pytest.approx(1.0, abs=0.3)
    assert normalise(np.array([3.001]), still)[0] == pytest.approx(0.1)
    assert normalise(np.array([1e9]), one)[0] == 5.0
    again = Normalise(floor=0.01)
    again.restore(normalise.state())
    np.testing.assert_array_equal(again(wide, one), normalise(wide, one))


def test_yaml_composes_transforms_in_order():
    shaping = pipeline(f"""
        sparse: 2.0
        weight: 0.5
        transforms:
          - {{part: '{SHAPING}.clip:Clip', settings: {{ceiling: 1}}}}
          - {{part: '{SHAPING}.delta:Delta'}}
          - {{part: '{SHAPING}.potential:PotentialShaping', settings: {{scale: 0.1}}}}
    """)
    assert all(isinstance(t, RewardTransform) for t in shaping.transforms)
    item = steps(terminal=True, outcome=1.0, process=np.array([0.5, 2.0, 0.0, 1.0]), trust=0.8, discount=0.9)
    costs = np.array([-0.5, 0.0, -1.0, 0.0])
    expected = costs - np.append(costs[1:], 0.0)
    expected += 0.1 * (0.9 * np.append(item.potential[1:-1], 0.0) - item.potential[:-1])
    expected *= 0.5 * 0.8
    expected[-1] += 2.0
    np.testing.assert_allclose(shaping(item), expected)


def test_without_trust_the_success_signal_alone_is_left():
    item = steps(terminal=True, outcome=1.0, trust=0.0, process=np.full(4, np.nan))
    np.testing.assert_array_equal(Shaping()(item), [0, 0, 0, 1])
    np.testing.assert_array_equal(steps(terminal=False, outcome=1.0).success_signal(), np.zeros(4))
    with pytest.raises(RewardModelError, match='not finite'):
        pipeline(f'transforms: [{{part: "{SHAPING}.clip:Clip"}}]')(steps(process=np.full(4, np.nan)))


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        (f'transforms: [{{part: "{SHAPING}.clip:Clap"}}]', "has no 'Clap'"),
        (f'transforms: [{{part: "{SHAPING}.clip:Clip", settings: {{eta: 1.0}}}}]', 'eta'),
        (f'transforms: [{{part: "{SHAPING}.clip:Clip", settings: {{ceiling: high}}}}]', 'ceiling'),
        (f'transforms: [{{part: "{SHAPING}.normalise:Normalise", settings: {{_seen: {{}}}}}}]', '_seen'),
        ('transforms: [{part: "apprentice.robot.settings:from_dict"}]', 'dataclass'),
        ('transforms: [{part: "apprentice.robot.types:Reward"}]', 'Reward'),
        ('discount: 1.5', 'discount'),
    ],
)
def test_what_does_not_fit_is_named(text, words):
    with pytest.raises(RewardModelError, match=words):
        pipeline(text)


def test_statistics_change_between_updates_only():
    shaping = pipeline(f'transforms: [{{part: "{SHAPING}.normalise:Normalise"}}]')
    item = steps(40, process=np.linspace(0.0, 100.0, 40))
    shaping.observe(item)
    before = shaping(item)
    shaping.refresh()
    assert np.abs(shaping(item)).max() < 2 < np.abs(before).max()
