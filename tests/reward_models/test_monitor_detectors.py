# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Each detector sees what it is for, and says nothing where it cannot know."""

import numpy as np
import pytest

from apprentice.reward_models.monitor.cameras import camera_statistics
from apprentice.reward_models.monitor.drift_detectors import (
    CameraHealth,
    EmbeddingOOD,
    PolicyShift,
    VarianceCollapse,
)
from apprentice.reward_models.monitor.evidence import Evidence, Judged
from apprentice.reward_models.monitor.gold_detectors import FalseSuccess, PredicateConflict, ProxyGoldGap
from apprentice.reward_models.monitor.limits import DETECTORS
from apprentice.reward_models.monitor.score_detectors import (
    CycleCredit,
    Disagreement,
    InstructionMargin,
    ReversalAsymmetry,
    StaticCredit,
)
from apprentice.robot.intervals import wilson
from apprentice.robot.types import Reward, RewardKind

LINE = np.stack([np.linspace(0, 1, 11), np.zeros(11)], axis=1)  # a way through an embedding space


def samples(progress, **more):
    return [
        Reward(i, i, RewardKind.ABS_PROGRESS, p, progress=p, **{k: v[i] for k, v in more.items()})
        for i, p in enumerate(progress)
    ]


def test_there_are_twelve_and_none_of_them_guesses():
    assert len({detector.name for detector in DETECTORS}) == 12
    nothing = Evidence('e')
    for kind in DETECTORS:
        assert np.isnan(kind.fitted([nothing] * 3).measure(nothing)), kind.name
        assert kind.strongest >= kind.response


def test_margin_is_that_of_the_later_half():
    margins = [0.0, 0.0, 0.4, 0.2]
    value = InstructionMargin().measure(Evidence('e', rewards=samples([0.1] * 4, margin=margins)))
    assert value == pytest.approx(0.3)


def test_a_pair_and_its_reverse_must_cancel():
    forward = np.array([0.3, -0.2])
    honest = Evidence('e', forward=forward, backward=-forward)
    assert ReversalAsymmetry().measure(honest) == pytest.approx(0.0)
    always_up = Evidence('e', forward=forward, backward=np.array([0.3, 0.4]))
    assert ReversalAsymmetry().measure(always_up) == pytest.approx(0.4)
    # a clock: the curve of the reversed video rises too
    clock = Evidence('e', potential=np.linspace(0, 1, 9), curve_reversed=np.linspace(0, 1, 9))
    assert ReversalAsymmetry().measure(clock) == pytest.approx(1.0)
    fair = Evidence('e', potential=np.linspace(0, 1, 9), curve_reversed=np.linspace(1, 0, 9))
    assert ReversalAsymmetry().measure(fair) == pytest.approx(0.0)


def test_standing_still_earns_nothing():
    moving = Evidence('e', embeddings=LINE, potential=np.linspace(0, 1, 11))
    detector = StaticCredit.fitted([moving])
    assert detector.measure(moving) == 0.0
    still = Evidence('e', embeddings=np.zeros((11, 2)), potential=np.linspace(0, 0.5, 11))
    assert detector.measure(still) == pytest.approx(0.5)


def test_a_closed_loop_earns_nothing():
    there_and_back = np.concatenate([LINE, LINE[::-1][1:]])
    way = np.abs(np.linspace(-1, 1, 21))
    detector = CycleCredit.fitted([Evidence('e', embeddings=LINE)])
    potential = Evidence('e', embeddings=there_and_back, potential=1 - way)
    assert detector.measure(potential) == pytest.approx(0.0, abs=1e-9)
    # forgets what it loses on the way back
    gains = np.maximum(np.diff(1 - way), 0)
    ratchet = Evidence('e', embeddings=there_and_back, potential=1 - way, credit=gains)
    assert detector.measure(ratchet) == pytest.approx(1.0)


def test_disagreement_is_relative_to_the_usual():
    rng = np.random.default_rng(0)
    usual = [Evidence('e', members=0.5 + 0.05 * rng.normal(size=(4, 30))) for _ in range(10)]
    detector = Disagreement.fitted(usual)
    assert detector.measure(usual[0]) == pytest.approx(1.0, abs=0.3)
    wide = Evidence('e', members=0.5 + 0.5 * rng.normal(size=(4, 30)))
    assert detector.measure(wide) > 7
    # one camera against another counts too, where it was measured before
    assert np.isnan(detector.measure(Evidence('e', views=np.ones((2, 5)))))
    alone = Disagreement.fitted([Evidence('e', rewards=samples([0.5], std=[0.1]))])
    assert alone.measure(Evidence('e', rewards=samples([0.5], std=[0.3]))) == pytest.approx(3.0, rel=0.01)


def test_embeddings_far_off_and_off_the_plane():
    rng = np.random.default_rng(1)
    plane = rng.normal(size=(2, 12))  # everything normal lies in two directions
    usual = [Evidence('e', embeddings=rng.normal(size=(20, 2)) @ plane + 1e-3 * rng.normal(size=(20, 12)))
             for _ in range(10)]  # fmt: skip
    detector = EmbeddingOOD.fitted(usual)
    inside = detector.measure(usual[3])
    far = Evidence('e', embeddings=usual[3].embeddings + 9 * plane[0])
    aside = Evidence('e', embeddings=usual[3].embeddings + rng.normal(size=12) * 0.1)
    assert detector.measure(far) > 2 * inside
    assert detector.measure(aside) > 2 * inside
    assert np.isnan(detector.measure(Evidence('e', embeddings=np.zeros((3, 5)))))  # of another encoder


def test_collapsed_scores():
    rng = np.random.default_rng(2)
    usual = [Evidence(str(i), 'pick', proxy=float(p)) for i, p in enumerate(rng.uniform(0, 1, 40))]
    detector = VarianceCollapse.fitted(usual)
    assert 0 < detector.lowest < 1
    assert detector.measure(Evidence('e', group=rng.uniform(0, 1, 8))) > detector.lowest
    assert detector.measure(Evidence('e', group=0.9 + 0.001 * rng.normal(size=8))) < detector.lowest
    assert np.isnan(detector.measure(Evidence('e', group=[0.9] * 3)))


def test_policy_shift_by_divergence_and_by_saturation():
    rng = np.random.default_rng(3)
    base, std = np.zeros((50, 2)), np.array([0.1, 0.2])
    limits = {'lower': np.full(2, -1.0), 'upper': np.ones(2)}
    near = Evidence('e', actions=rng.normal(size=(50, 2)) * std, base_actions=base, base_std=std, **limits)
    detector = PolicyShift.fitted([near])
    assert detector.divergence == pytest.approx(0.5, abs=0.15)  # E[z^2] / 2
    assert detector.measure(near) == pytest.approx(1.0)
    far = Evidence('e', actions=base + 0.5, base_actions=base, base_std=std, **limits)
    assert detector.measure(far) > 10
    stuck = Evidence('e', actions=np.ones((50, 2)), **limits)
    assert detector.measure(stuck) == pytest.approx(100.0)


def picture(rng, shift=0):
    """A picture with structure, and noise of its own."""
    y, x = np.mgrid[:64, :64]
    grey = 120 + 60 * np.sin((x + shift) / 5) * np.cos(y / 7) + rng.normal(0, 2, (64, 64))
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize(('what', 'least'), [('covered', 0.5), ('dark', 0.9), ('moved', 0.3)])
def test_cameras(what, least):
    rng = np.random.default_rng(4)
    usual = [Evidence('e', cameras={'front': camera_statistics(picture(rng)[None])}) for _ in range(8)]
    detector = CameraHealth.fitted(usual)
    assert max(detector.measure(evidence) for evidence in usual) < 0.1
    frame = picture(rng, shift=6 if what == 'moved' else 0)
    if what == 'covered':
        frame[:, :40] = 90
    elif what == 'dark':
        frame //= 40
    cameras = {'front': camera_statistics(frame[None]), 'new': usual[0].cameras['front']}
    spoiled = Evidence('e', cameras=cameras)
    assert detector.measure(spoiled) > least
    with pytest.raises(ValueError, match='uint8'):
        camera_statistics(np.zeros((0, 4, 4, 3), np.uint8))


def judged(proxy, gold, claimed=False):
    return [Judged(str(i), '', p, g, claimed) for i, (p, g) in enumerate(zip(proxy, gold))]


def test_scores_up_while_success_goes_down():
    rng = np.random.default_rng(5)
    usual = [Evidence('e', proxy=p, gold=float(rng.random() < 0.6)) for p in rng.normal(0.5, 0.1, 100)]
    detector = ProxyGoldGap.fitted(usual)
    down = [0.0] * 20
    hacked = Evidence('e', proxy=0.9, gold=0.0, history=judged([0.9] * 20, down))
    worse = Evidence('e', proxy=0.3, gold=0.0, history=judged([0.3] * 20, down))  # bad, and known to be
    better = Evidence('e', proxy=0.9, gold=1.0, history=judged([0.9] * 20, [1.0] * 20))
    assert detector.measure(hacked) > detector.fixed
    assert detector.measure(worse) < 0
    assert detector.measure(better) < 0
    unaudited = Evidence('e', proxy=0.9, history=judged([0.9] * 20, [np.nan] * 20))
    assert np.isnan(detector.measure(unaudited))


def test_claims_against_necessary_conditions():
    claims = np.array([False, False, True, True])
    holds = Evidence('e', claims=claims, conditions={'gripper': np.array([False, False, True, True])})
    conditions = {'gripper': np.array([True, True, True, False]), 'still': np.ones(4, bool)}
    breaks = Evidence('e', claims=claims, conditions=conditions)
    assert PredicateConflict().measure(holds) == 0.0
    assert PredicateConflict().measure(breaks) == pytest.approx(0.5)
    with pytest.raises(ValueError, match='gripper'):
        PredicateConflict().measure(Evidence('e', claims=claims, conditions={'gripper': np.ones(3, bool)}))


def test_false_claims_need_enough_audits_to_be_sure():
    claim = {'claims': np.array([True])}
    once = Evidence('e', gold=0.0, history=judged([1.0] * 9, [1.0] * 9, True), **claim)
    twice = Evidence('e', gold=0.0, history=judged([1.0] * 9, [1.0] * 8 + [0.0], True), **claim)
    assert FalseSuccess().measure(once) == 0.0
    assert FalseSuccess().measure(twice) == pytest.approx(wilson(2, 10)[0])
    assert FalseSuccess().measure(twice) > FalseSuccess.fixed
    assert np.isnan(FalseSuccess().measure(Evidence('e', gold=0.0, claims=np.array([False]))))
