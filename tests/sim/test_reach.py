# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Reach the named marker."""

import contextlib

import numpy as np
import pytest
from task_checks import check_expert, check_failures, check_starts, spec_of

from apprentice.sim.people import ScriptedPerson
from apprentice.sim.tasks.hand import Hand
from apprentice.sim.tasks.reach import AGAIN_S, DWELL_S, HOME, SLOTS, WITHIN, Reach, wanted_colour
from apprentice.sim.worlds import Worlds


def test_expert():
    check_expert(Reach(), range(8))


def test_failures():
    check_failures(Reach(), range(2))


def test_starts():
    check_starts(Reach())


def test_easy_starts_are_near_and_without_distractors():
    task = Reach()
    for seed in range(20):
        easy = task.start(np.random.default_rng(seed), '', 0.0)
        full = task.start(np.random.default_rng(seed), '', 1.0)
        assert np.sum(easy.memory['colours'] >= 0) == 1
        assert np.sum(full.memory['colours'] >= 0) == len(SLOTS)
        slot = SLOTS[easy.memory['target']]
        marker = np.array([easy.joints[f'{slot}_{axis}'] for axis in 'xyz'])
        assert np.linalg.norm(marker - HOME) < 0.17


def test_markers_stay_where_they_are():
    task = Reach()
    with contextlib.closing(Worlds(spec_of(task), 1, task=task)) as worlds:
        worlds.reset([0], [3])
        before = worlds.objects(0)
        worlds.step(worlds.joints, 2.0)
        for name, pose in worlds.objects(0).items():
            np.testing.assert_allclose(pose[:3], before[name][:3], atol=1e-6)


def stay(worlds, marker, seconds=np.inf):
    """Move to a marker and stay there for a while, or until success; seconds since the tip came into it."""
    hand, entered = Hand(worlds.scene), np.inf
    for _ in range(120):
        if np.linalg.norm(worlds.view.tip[0] - worlds.objects(0)[marker][:3]) < WITHIN:
            entered = min(entered, worlds.view.time[0])
        if worlds.success()[0] or worlds.view.time[0] - entered > seconds - 1e-6:
            break
        goal = worlds.objects(0)[marker][:3].copy()
        goal[2] = max(goal[2], 0.016)
        worlds.step(hand.move(worlds.joints[0].copy(), goal, hand.opened)[None], 0.05)
    return worlds.view.time[0] - entered


def named_and_others(worlds, seed):
    """Start; the names of the marker asked for and of the others."""
    named = f'marker_{wanted_colour(worlds.reset([0], [seed])[0])}'
    return named, [name for name in worlds.objects(0) if name != named]


def test_the_tip_has_to_stay():
    with contextlib.closing(Worlds(spec_of(Reach()), 1, task=Reach())) as worlds:
        named, _ = named_and_others(worlds, 1)
        assert DWELL_S - 1e-6 <= stay(worlds, named) < AGAIN_S
        assert worlds.success()[0]


def test_what_was_reached_wrongly_is_put_right_by_staying_longer():
    with contextlib.closing(Worlds(spec_of(Reach()), 1, task=Reach())) as worlds:
        for seed in (1, 2):
            named, others = named_and_others(worlds, seed)
            stay(worlds, others[0], 1.0)
            assert not worlds.success()[0]
            assert worlds.memory['others'][0].sum() == 1
            stay(worlds, named, AGAIN_S - 0.1)
            assert not worlds.success()[0]
            stay(worlds, others[0], 0.0)  # away, so that it begins again
            assert AGAIN_S - 1e-6 <= stay(worlds, named) < AGAIN_S + 0.3
            assert worlds.success()[0]


def test_a_person_who_trembles_can_put_it_right():
    spec = spec_of(Reach())
    with contextlib.closing(Worlds(spec, 1, task=Reach())) as worlds:
        for seed in range(3):
            _, others = named_and_others(worlds, seed)
            stay(worlds, others[0], 1.0)
            person = ScriptedPerson(worlds.expert(), seed=seed, spec=spec)
            for _ in range(30):
                joints, objects = worlds.joints[0].copy(), worlds.objects(0)
                target = person.act(joints, objects, worlds.instructions[0])
                for part in (0.5, 1.0):  # as the gate commands it
                    worlds.step((joints + part * (target - joints))[None], spec.action_dt / 2)
                if worlds.success()[0]:
                    break
            assert worlds.success()[0]


def test_trying_marker_after_marker_takes_too_long():
    with contextlib.closing(Worlds(spec_of(Reach()), 1, task=Reach())) as worlds:
        named, others = named_and_others(worlds, 1)
        for before, name in enumerate(others):  # each for as long as it would take if it were the right one
            stay(worlds, name, max(0.5, before * AGAIN_S))
        assert worlds.memory['others'][0].sum() == len(others) == 3
        stay(worlds, named, max(0.5, worlds.max_duration_s - worlds.view.time[0]))
        assert not worlds.success()[0]
        stay(worlds, named)
        assert worlds.success()[0]
        assert worlds.view.time[0] > worlds.max_duration_s


@pytest.mark.parametrize(
    'instruction',
    ['reach the marker left of the red marker', 'pick up the red cube', 'reach the red and blue'],
)
def test_other_instructions_are_refused(instruction):
    with pytest.raises(ValueError, match='reach the red marker'):
        wanted_colour(instruction)
