# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Simulated people: late, wrong, absent, inattentive; labels and comparisons with the errors asked for."""

import contextlib
import dataclasses
import math

import numpy as np
import pytest

from apprentice.robot.guidance import AdviceKind
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Outcome
from apprentice.sim.people import PersonConfig, ScriptedPerson
from apprentice.sim.rollout import RolloutConfig, rollout
from apprentice.sim.world import World

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))
SWIFT = PersonConfig(patience_s=0.3, reaction_s=0.0)


class Fixed:
    """An expert that always asks for the same."""

    def act(self, state, objects, task):
        return np.full(len(state), 0.02)


def person(seed=0, **settings):
    return ScriptedPerson(Fixed(), PersonConfig(**settings), seed, SPEC)


def takeover(who, until=20.0, step=0.1):
    """When a person takes over a robot that never gets anywhere; inf: not at all."""
    times = np.arange(0, until, step)
    return next((float(t) for t in times if who.wants_control(t, 0.0)), math.inf)


def test_late_people_come_late():
    quick = [takeover(person(s, patience_s=1.0, reaction_s=0.0)) for s in range(20)]
    late = [takeover(person(s, patience_s=1.0, reaction_s=5.0)) for s in range(20)]
    assert set(np.round(quick, 6)) == {1.1}
    assert np.ptp(late) > 2.0
    assert 1.0 < min(late) <= max(late) <= 6.2


def test_absent_and_inattentive_people():
    assert takeover(person(absent=1.0)) == math.inf
    assert takeover(person(attention=0.0)) == math.inf
    half = [takeover(person(s, absent=0.5)) < math.inf for s in range(200)]
    assert 0.4 < np.mean(half) < 0.6
    distracted = [takeover(person(s, attention=0.3, reaction_s=0.0)) for s in range(50)]
    assert np.mean(distracted) > takeover(person(reaction_s=0.0)) + 0.5
    same = [takeover(person(7, attention=0.3)), takeover(person(7, attention=0.3), step=0.05)]
    assert same[0] == pytest.approx(same[1], abs=0.11)  # attention does not depend on how often one asks


def test_progress_keeps_the_person_away():
    who = person(patience_s=1.0, reaction_s=0.0)
    assert not any(who.wants_control(t, t / 10) for t in np.arange(0, 8, 0.1))


def test_the_hand_trembles_but_not_the_gripper_wherever_it_is():
    gripper_first = dataclasses.replace(SPEC, joints=(SPEC.joints[-1], *SPEC.joints[:-1]))
    for spec, gripper in ((SPEC, 6), (gripper_first, 0)):
        who = ScriptedPerson(Fixed(), PersonConfig(wobble=0.01), 0, spec)
        targets = np.stack([who.act(np.zeros(7), {}, '') for _ in range(200)])
        assert np.all(targets[:, gripper] == 0.02)
        arm = np.delete(targets, gripper, axis=1)
        assert arm.std(0) == pytest.approx(np.full(6, 0.01), rel=0.2)


def pressed(who, kind, since=2.0, until=6.0):
    """When somebody who is never out of patience presses takeover, advised from ``since`` on; inf: not."""
    for t in np.arange(0, until, 0.1):
        who.advised(t, kind if t >= since else AdviceKind.NONE)
        if who.wants_control(t, 0.0):
            return float(t)
    return math.inf


def test_advice_is_followed_with_the_probability_and_the_delay_asked_for():
    patient = {'patience_s': 600, 'reaction_s': 1.0}
    assert pressed(person(**patient), AdviceKind.TAKE_OVER) == math.inf  # nobody listens unless it is set
    always = [pressed(person(s, follows=1.0, **patient), AdviceKind.TAKE_OVER) for s in range(50)]
    assert 2.0 <= min(always) < 2.2 < 2.8 < max(always) <= 3.1
    half = [pressed(person(s, follows=0.5, **patient), AdviceKind.TAKE_OVER) < math.inf for s in range(200)]
    assert 0.4 < np.mean(half) < 0.6
    absent = person(follows=1.0, absent=1.0, **patient)
    assert pressed(absent, AdviceKind.TAKE_OVER) == math.inf
    for other in (AdviceKind.TAPER, AdviceKind.HAND_BACK):
        assert pressed(person(follows=1.0, **patient), other) == math.inf


def test_advice_that_is_withdrawn_before_the_hand_moves_is_forgotten():
    who = person(3, follows=1.0, patience_s=600, reaction_s=2.0)
    who.advised(1.0, AdviceKind.TAKE_OVER)
    who.advised(1.1, AdviceKind.NONE)
    assert takeover(who) == math.inf


def test_a_demonstration_begins_at_once_and_is_not_handed_back():
    who = person(patience_s=600, hands_back=1.0, regained=0.0, demonstrates=1.0, follows=1.0, reaction_s=0.0)
    who.advised(0.0, AdviceKind.DEMONSTRATE)
    assert who.wants_control(0.0, 0.0)
    who.act(np.zeros(7), {}, '')
    who.advised(1.0, AdviceKind.HAND_BACK)
    assert not who.lets_go(1.0, 1.0)
    who.reset(10.0)
    assert not who.wants_control(10.0, 0.0)  # the next episode is another one
    who = person(patience_s=600, demonstrates=0.0)
    who.advised(0.0, AdviceKind.DEMONSTRATE)
    assert not who.wants_control(0.0, 0.0)


def driving(**settings):
    who = person(patience_s=1.0, reaction_s=0.0, **settings)
    assert takeover(who) == pytest.approx(1.1)
    who.act(np.zeros(7), {}, '')
    return who


def test_control_is_handed_back_when_the_trouble_is_over():
    who = driving(hands_back=1.0, regained=0.2)
    went = [who.lets_go(1.2 + i / 10, p) for i, p in enumerate((0.3, 0.2, 0.35, 0.39, 0.41))]
    assert went == [False, False, False, False, True]  # 0.2 above the lowest since
    assert not who.wants_control(1.7, 0.41)  # patience begins anew
    assert who.wants_control(3.0, 0.41)
    stays = driving(hands_back=0.0)
    assert not any(stays.lets_go(2.0 + i, p) for i, p in enumerate((0.0, 0.5, 1.0)))
    half = [driving(hands_back=0.5, seed=s) for s in range(200)]
    assert 0.4 < np.mean([who.lets_go(2.0, 0.1) or who.lets_go(3.0, 0.9) for who in half]) < 0.6


def test_control_is_handed_back_when_that_is_advised():
    who = driving(follows=1.0)
    assert not who.lets_go(2.0, 0.1)
    who.advised(2.0, AdviceKind.HAND_BACK)
    assert who.lets_go(2.1, 0.1)
    deaf = driving(follows=0.0)
    deaf.advised(2.0, AdviceKind.HAND_BACK)
    assert not deaf.lets_go(2.1, 0.1)


def test_who_follows_advice_to_taper_takes_over_on_advice_only():
    who = person(follows=1.0, patience_s=1.0, reaction_s=0.0)
    who.advised(0.0, AdviceKind.TAPER)
    who.advised(0.1, AdviceKind.NONE)
    assert takeover(who) == math.inf
    who.advised(20.0, AdviceKind.TAKE_OVER)
    assert who.wants_control(20.1, 0.0)
    who.reset(30.0)
    assert who.wants_control(32.0, 0.0)
    deaf = person(follows=0.0, patience_s=1.0, reaction_s=0.0)
    deaf.advised(0.0, AdviceKind.TAPER)
    assert takeover(deaf) < math.inf


def test_who_listens_decides_otherwise_as_who_does_not():
    config = {'mistakes': 0.5, 'leaves': 0.3, 'absent': 0.3, 'attention': 0.6, 'missed_success': 0.4}
    plain, listens = (
        person(5, **config),
        person(5, follows=1.0, hands_back=1.0, demonstrates=1.0, **config),
    )
    for who in (plain, listens):
        who.found = []
        for number in range(20):
            who.reset(0.0)
            if who is listens:
                who.advised(0.0, AdviceKind.NONE if number % 2 else AdviceKind.HAND_BACK)
            who.found.append(
                (takeover(who), who.act(np.zeros(7), {}, '').tolist(), who.label(number % 2 == 0))
            )
    assert plain.found == listens.found


def test_who_leaves_holds_still_and_does_not_come_back():
    who = person(leaves=1.0, leaves_after=5, wobble=0.0)
    state = np.linspace(0, 1, 7)
    targets = [who.act(state, {}, '') for _ in range(6)]
    assert who.gone
    np.testing.assert_array_equal(targets[-1], state)
    assert np.all(targets[0] == 0.02)
    assert takeover(who) == math.inf
    who.reset(0.0)
    assert not who.gone
    assert takeover(who) < math.inf


def test_mistakes_last_a_while_in_every_takeover():
    who = person(mistakes=1.0, mistake_steps=4, wobble=0.0, seed=3)
    state = SPEC.vector('home')
    wrong = 0
    for _ in range(12):
        who.wants_control(0.0, 0.0)
        targets = [who.act(state, {}, '') for _ in range(6)]
        wrong += any(not np.all(t == 0.02) for t in targets[:4])
        assert all(np.all(t == 0.02) for t in targets[4:])
    assert wrong >= 4  # missing shows only where there are objects
    with pytest.raises(ValueError, match='pass spec'):
        ScriptedPerson(Fixed(), PersonConfig(mistakes=0.1))


def test_labels_err_as_often_as_asked():
    who = person(missed_success=0.1, missed_failure=0.3, unlabelled=0.2)
    said = [[who.label(truth) for _ in range(2000)] for truth in (True, False)]
    given = [[label for label in labels if label is not None] for labels in said]
    assert all(0.77 < len(labels) / 2000 < 0.83 for labels in given)
    assert np.mean(given[0]) == pytest.approx(0.9, abs=0.03)
    assert np.mean(given[1]) == pytest.approx(0.3, abs=0.03)
    assert person().label(True) is True
    assert person().label(False) is False
    assert person(absent=1.0).label(True) is None


def test_comparisons_are_bradley_terry():
    who = person(rationality=2.0)
    chosen = np.mean([who.prefer(1.0, 0.5) for _ in range(4000)])
    assert chosen == pytest.approx(1 / (1 + math.exp(-1.0)), abs=0.03)
    random = person(rationality=0.0)
    assert np.mean([random.prefer(5.0, 0.0) for _ in range(2000)]) == pytest.approx(0.5, abs=0.04)
    exact = person()
    assert exact.prefer([0, 0, 1], [0, 1, 1]) == 0.0
    assert exact.prefer(2.0, 2.0) == 0.5
    assert person(wrong_choice=1.0).prefer(1.0, 0.0) == 0.0
    assert person(indifference=0.5).prefer(1.0, 0.6) == 0.5
    assert person(refusal=0.5).prefer(0.2, 0.1) is None
    # the end counts more than the beginning for one with a short memory
    assert exact.prefer([3, 0, 0], [0, 0, 2]) == 1.0
    assert person(memory=0.5).prefer([3, 0, 0], [0, 0, 2]) == 0.0


def test_a_seed_is_a_person():
    def history(seed):
        who = person(seed, rationality=1.0, missed_success=0.5, mistakes=0.5, leaves=0.5, attention=0.5)
        made = []
        for episode in range(4):
            who.reset(float(episode))
            made += [takeover(who), who.label(True), who.prefer(0.3, 0.2)]
            made += [who.act(np.zeros(7), {}, '').tolist() for _ in range(5)]
        return made

    assert history(1) == history(1)
    assert history(1) != history(2)


def test_settings_from_yaml(tmp_path):
    path = tmp_path / 'person.yaml'
    path.write_text('absent: 0.2\nmistake_steps: 7\nrationality: 3\n')
    assert PersonConfig.load(path) == PersonConfig(absent=0.2, mistake_steps=7, rationality=3)
    for text, message in (
        ('absent: 2', r'absent \(probability of ignoring.*is 2; give a number within 0 to 1'),
        ('mistake_steps: 1.5', r'mistake_steps .*a whole number'),
        ('patience: 2', r"unknown \['patience'\]; known are .*patience_s"),
        ('wobble: yes', 'wobble'),
        ('[1]', 'must be a mapping'),
        ('a: [', 'is not YAML'),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            PersonConfig.load(path)


def test_on_the_arm_mistakes_cost_time_and_leaving_costs_success():
    with contextlib.closing(World(SPEC)) as world:

        def helped(config, seed=5):
            who = ScriptedPerson(world.expert(), config, seed, SPEC)
            return rollout(
                world, seed, lambda o: o.state[None], person=who, config=RolloutConfig(max_duration_s=6.0)
            )

        good = helped(SWIFT)
        mistaken = helped(dataclasses.replace(SWIFT, mistakes=1.0, mistake_steps=10))
        left = helped(dataclasses.replace(SWIFT, leaves=1.0, leaves_after=10))
    assert good.outcome == mistaken.outcome == Outcome.SUCCESS
    assert len(mistaken.stamps) > len(good.stamps) + 3
    assert left.outcome == Outcome.FAILURE
    assert left.human_steps > 0
