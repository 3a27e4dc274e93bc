# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Press the named button."""

import contextlib

import numpy as np
import pytest
from task_checks import check_expert, check_failures, check_starts, drive, spec_of

from apprentice.sim.tasks.press import AGAIN_S, APART, BASES, CAPS, PRESSED, TRAVEL, Press, wanted_button
from apprentice.sim.tasks.things import colour_name
from apprentice.sim.worlds import Worlds


@pytest.fixture
def worlds():
    with contextlib.closing(Worlds(spec_of(Press()), 1, task=Press())) as made:
        yield made


def put(worlds: Worlds, **caps: float) -> None:
    """Push caps down by so many metres."""
    for name, depth in caps.items():
        worlds.physics.write('qpos', [worlds.scene.address('jnt_qposadr', name)], depth, [0])
    worlds.physics.forward([0])


def named_and_others(worlds: Worlds) -> tuple[str, list[str]]:
    """The cap that is asked for, and the others in the scene."""
    target, colours = int(worlds.memory['target'][0]), worlds.memory['colours'][0]
    return CAPS[target], [cap for i, cap in enumerate(CAPS) if colours[i] >= 0 and i != target]


def hold(worlds: Worlds, cap: str, seconds: float) -> None:
    """Press a cap with the hand and hold it down for some simulated time."""
    colour = colour_name(worlds.memory['colours'][0][CAPS.index(cap)])
    expert, held = worlds.expert(), 0.0
    for _ in range(80):
        if held > seconds - 1e-6:
            return
        told = f'press the {colour} button'
        worlds.step(expert.act(worlds.joints[0].copy(), worlds.objects(0), told)[None], 0.1)
        held += 0.1 * (worlds.view.joint(cap)[0] > PRESSED)
    raise AssertionError(f'{cap} was held down for {held:.1f} s only')


def test_expert():
    check_expert(Press(), range(8))


def test_failures():
    check_failures(Press(), range(2))


def test_starts():
    check_starts(Press())


def test_success_is_the_named_button_alone_by_half_of_its_travel(worlds):
    for named_depth, other_depth, expected in (
        (0.0, 0.0, False),
        (0.9 * PRESSED, 0.0, False),
        (1.1 * PRESSED, 0.0, True),
        (0.0, TRAVEL, False),
        (TRAVEL, TRAVEL, False),
        (TRAVEL, 0.9 * PRESSED, True),
    ):
        worlds.reset([0], [1])
        named, others = named_and_others(worlds)
        put(worlds, **{named: named_depth, others[0]: other_depth})
        assert worlds.success()[0] == expected, (named_depth, other_depth)
        assert (worlds.progress()[0] == 1.0) == expected, (named_depth, other_depth)


def test_a_button_springs_back_and_stays_where_it_stands(worlds):
    worlds.reset([0], [3])
    named, _ = named_and_others(worlds)
    base = BASES[CAPS.index(named)]
    before = worlds.view.position(base)[0].copy()
    assert drive(worlds, 4.0)
    np.testing.assert_allclose(worlds.view.position(base)[0], before, atol=1e-3)
    put(worlds, **{named: 0.8 * PRESSED})
    home = worlds.spec.vector('home')
    for _ in range(10):
        worlds.step(home[None], 0.1)
    assert abs(worlds.view.joint(named)[0]) < 0.001
    assert not worlds.success()[0]  # a button that was let go is not pressed


def test_the_wrong_button_is_put_right_by_holding_longer(worlds):
    worlds.reset([0], [2])
    named, others = named_and_others(worlds)
    hold(worlds, others[0], 0.3)
    assert not worlds.success()[0]
    assert worlds.memory['others'][0].sum() == 1
    hold(worlds, named, 0.1)
    assert not worlds.success()[0]
    hold(worlds, named, 0.5 * AGAIN_S)
    assert not worlds.success()[0]
    hold(worlds, named, 0.6 * AGAIN_S)
    assert worlds.success()[0]


def test_pressing_one_after_the_other_takes_too_long(worlds):
    """Each for as long as it would take if it were the right one."""
    seed = next(s for s in range(20) if worlds.reset([0], [s]) and len(named_and_others(worlds)[1]) == 2)
    worlds.reset([0], [seed])
    named, others = named_and_others(worlds)
    for before, cap in enumerate(others):
        hold(worlds, cap, max(0.1, before * AGAIN_S))
    hold(worlds, named, 2 * AGAIN_S + 0.2)
    assert worlds.success()[0]
    assert worlds.view.time[0] > worlds.max_duration_s


def test_buttons_are_two_or_three_apart_and_one_at_level_0():
    counts = set()
    for seed in range(20):
        easy = Press().start(np.random.default_rng(seed), '', 0.0)
        full = Press().start(np.random.default_rng(seed), '', 1.0)
        assert np.sum(easy.memory['colours'] >= 0) == 1
        used = [base for base, colour in zip(BASES, full.memory['colours'], strict=True) if colour >= 0]
        counts.add(len(used))
        places = [np.array([full.joints[f'{base}_{axis}'] for axis in 'xy']) for base in used]
        gaps = [np.linalg.norm(a - b) for i, a in enumerate(places) for b in places[:i]]
        assert min(gaps) >= APART
        assert len(set(full.memory['colours'][full.memory['colours'] >= 0])) == len(used)
    assert counts == {2, 3}


def test_instructions():
    assert wanted_button('Press the red button') == 'red'
    assert wanted_button('please push down on the blue button') == 'blue'
    for wrong in (
        'press the button',
        'press the purple button',
        'press the red and blue button',
        'reach the red marker',
        'push the red block to the blue zone',
        'press the button left of the red button',
    ):
        with pytest.raises(ValueError, match='press the red button'):
            wanted_button(wrong)
