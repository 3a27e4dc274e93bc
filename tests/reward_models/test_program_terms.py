# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Reward terms: norms, gates, and what a language model is told when it gets them wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.programs.norms import PARAMETERS, norm, risk
from apprentice.reward_models.programs.residuals import catalogue
from apprentice.reward_models.programs.terms import TermsError, parse

SIZES = {'tip': 7, 'cube_red': 7, 'joints': 7, 'joint_velocity': 7, 'opening': 1}
RESIDUALS = catalogue()


def states(n: int = 6) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(n, size)) for name, size in SIZES.items()}


def read(*terms: dict, **more):
    return parse(json.dumps({'terms': terms, **more}), RESIDUALS, SIZES)


def grip_force(state, thing: str) -> np.ndarray:
    """Force between the fingers (N), 1 number."""
    return state['opening'] * 10 + state[thing][:, :1]


grip_force.reads = ('opening',)


# mjpc/norm.cc with x = (3, -4) and parameters (0.5, 3), worked out by hand
@pytest.mark.parametrize(
    ('name', 'parameters', 'wanted'),
    [
        ('null', (), 3.0),
        ('quadratic', (), 12.5),
        ('l22', (0.5, 3.0), (125 + 0.125) ** (1 / 3) - 0.5),
        ('l2', (0.5,), np.sqrt(25.25) - 0.5),
        ('cosh', (0.5,), 0.25 * (np.cosh(6) + np.cosh(8) - 2)),
        ('power', (3.0,), 27 + 64),
        ('smooth_abs', (0.5,), np.sqrt(9.25) + np.sqrt(16.25) - 1),
        ('smooth_abs2', (0.5, 3.0), (27.125) ** (1 / 3) + (64.125) ** (1 / 3) - 1),
        ('rectify', (0.5,), 0.5 * (np.log1p(np.exp(6)) + np.log1p(np.exp(-8)))),
    ],
)
def test_norms(name, parameters, wanted):
    np.testing.assert_allclose(norm(name, np.array([[3.0, -4.0]]), parameters), [wanted], rtol=1e-12)


def test_every_norm_is_finite_far_away_and_zero_at_the_target():
    for name in PARAMETERS:
        assert np.isfinite(norm(name, np.array([[1e6, -1e6]]))).all(), name
        if name != 'rectify':
            np.testing.assert_allclose(norm(name, np.zeros((1, 2))), 0.0, atol=1e-12)


def test_risk_transform():
    cost = np.array([0.0, 1.0, 2.0])
    np.testing.assert_array_equal(risk(cost, 0.0), cost)
    np.testing.assert_allclose(risk(cost, 0.5), (np.exp(0.5 * cost) - 1) / 0.5)
    np.testing.assert_allclose(risk(cost, 1e-9), cost, rtol=1e-6)
    assert np.isfinite(risk(np.array([1e9]), 1.0)).all()


def test_cost_is_the_sum_of_weighted_gated_norms():
    state = states()
    terms = read(
        {'residual': 'distance', 'of': ['tip', 'cube_red'], 'norm': 'l2', 'parameters': 0.1, 'weight': 2},
        {
            'residual': 'gripper_opening', 'target': 0.04, 'norm': 'quadratic', 'weight': 3,
            'gate': {'residual': 'height', 'of': 'cube_red', 'above': 0.2, 'softness': 0.1},
        },
    )  # fmt: skip
    far = np.linalg.norm(state['tip'][:, :3] - state['cube_red'][:, :3], axis=1)
    gate = 1 / (1 + np.exp(-(state['cube_red'][:, 2] - 0.2) / 0.1))
    wanted = 2 * (np.sqrt(far**2 + 0.01) - 0.1) + gate * 3 * 0.5 * (state['opening'][:, 0] - 0.04) ** 2
    np.testing.assert_allclose(terms.cost(state, RESIDUALS), wanted, rtol=1e-9)
    assert terms.reads(RESIDUALS) == ('cube_red', 'opening', 'tip')
    assert parse(terms.to_json(), RESIDUALS, SIZES) == terms


def test_a_hard_gate_is_a_step():
    gate = {'residual': 'height', 'of': ['tip'], 'below': 0.1, 'above': -0.1}
    terms = read({'residual': 'height', 'of': ['tip'], 'target': 9, 'gate': gate})
    state = {'tip': np.zeros((3, 7))}
    state['tip'][:, 2] = [0.0, 0.2, -0.2]
    cost = terms.cost(state, RESIDUALS)
    assert cost[0] > 8
    assert cost[1] == cost[2] == 0


def test_directions_of_a_pose():
    pose = np.array(
        [[0, 0, 0, 1.0, 0, 0, 0], [0, 0, 0, 0, 1.0, 0, 0], [0, 0, 0, np.cos(0.3), 0, 0, np.sin(0.3)]]
    )
    up = RESIDUALS['upright'].function({'tip': pose}, 'tip')
    np.testing.assert_allclose(up[:, 0], [1, -1, 1], atol=1e-12)
    turned = RESIDUALS['heading'].function({'tip': pose}, 'tip')
    np.testing.assert_allclose(turned[2], [np.cos(0.6), np.sin(0.6)], atol=1e-12)


def test_residuals_are_an_open_set():
    more = catalogue({'force': 'test_program_terms:grip_force'})
    assert more['force'].about == 'Force between the fingers (N), 1 number.'
    terms = parse('[{"residual": "force", "of": "tip", "norm": "power"}]', more, SIZES)
    assert terms.reads(more) == ('opening', 'tip')
    state = states()
    np.testing.assert_allclose(
        terms.cost(state, more), np.abs(state['opening'][:, 0] * 10 + state['tip'][:, 0])
    )
    for reference in ('subprocess:run', 'os:system', 'test_program_terms:SIZES'):
        with pytest.raises(RewardModelError, match=f'{reference} is not a residual'):
            catalogue({'force': reference})
    with pytest.raises(ImportError, match='no_such'):
        catalogue({'force': 'no_such.module:function'})


HEIGHT = {'residual': 'height', 'of': ['tip']}


@pytest.mark.parametrize(
    ('text', 'told'),
    [
        ('hello', 'not JSON'),
        ('[]', '0 terms; give 1 to'),
        ('[3]', r'terms\[0\] is 3; give a mapping'),
        ('[{"of": ["tip"]}]', 'a field is missing: .*residual'),
        ([{**HEIGHT, 'residual': 'os:system'}], "'os:system' is not there; use one of .*distance"),
        ([{**HEIGHT, 'of': ['cube_blue']}], "nothing measures 'cube_blue'; there are: .*cube_red"),
        ([{**HEIGHT, 'of': []}], 'takes 1 names in "of"'),
        ([{**HEIGHT, 'of': ['joints', 'tip']}], 'takes 1 names'),
        ([{**HEIGHT, 'of': ['opening']}], "'opening' has 1 numbers, not a position"),
        ([{**HEIGHT, 'norm': 'l3'}], r"terms\[0\].norm: there is no norm 'l3'"),
        ([{**HEIGHT, 'norm': 'l2', 'parameters': [0.0]}], 'must be numbers above 0'),
        ([{**HEIGHT, 'weight': -1}], 'weight is -1'),
        ([{**HEIGHT, 'weight': 'much'}], "weight is 'much'; give a value of type float"),
        ([{**HEIGHT, 'target': [1, 2]}], 'target has 2 numbers, the residual 1'),
        ([{**HEIGHT, 'traget': 1}], "has no .'traget'.; it has"),
        ([{**HEIGHT, 'gate': HEIGHT}], 'neither below nor above'),
        ([{**HEIGHT, 'gate': {**HEIGHT, 'below': 1, 'softness': -1}}], 'softness not negative'),
        ('{"terms": [{"residual": "height", "of": "tip", "weight": NaN}]}', 'weight is nan'),
        ('{"terms": [{"residual": "height", "of": "tip", "target": Infinity}]}', 'finite'),
        ({'terms': [HEIGHT], 'risk': 99}, 'risk is 99'),
        ([HEIGHT] * 25, '25 terms'),
    ],
)
def test_errors_say_where_and_what_there_is(text, told):
    with pytest.raises(TermsError, match=told):
        parse(text if isinstance(text, str) else json.dumps(text), RESIDUALS, SIZES)
