# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Push the named block into the named zone."""

import contextlib

import numpy as np
import pytest
from task_checks import check_expert, check_failures, check_starts, spec_of

from apprentice.sim.tasks.push import BLOCKS, HALF_HEIGHT, INSIDE, ZONES, Push, block_and_zone
from apprentice.sim.tasks.things import upright
from apprentice.sim.worlds import Worlds


def test_expert():
    check_expert(Push(), range(6))


def test_failures():
    check_failures(Push(), range(2))


def test_starts():
    check_starts(Push())


def test_both_colours_are_needed():
    assert block_and_zone('push the red block to the yellow zone') == ('red', 'yellow')
    assert block_and_zone('Please slide the blue block over into the blue zone.') == ('blue', 'blue')
    for wrong in (
        'push the red block',
        'push the red block away from the yellow zone',
        'pull the red block out of the yellow zone',
        'push the red zone to the yellow block',
        'push the red block past the yellow one',
        'push the purple block to the blue zone',
        'pick up the red cube and the blue cube',
    ):
        with pytest.raises(ValueError, match='push the red block to the yellow zone'):
            block_and_zone(wrong)


@pytest.mark.parametrize(
    ('offset', 'height', 'solved'),
    [
        (0.0, HALF_HEIGHT, True),
        (0.8 * INSIDE, HALF_HEIGHT, True),
        (1.2 * INSIDE, HALF_HEIGHT, False),  # the block sticks out
        (0.0, 0.15, False),  # in the air
    ],
)
def test_success_is_the_named_block_flat_in_the_named_zone(offset, height, solved):
    task = Push()
    with contextlib.closing(Worlds(spec_of(task), 1, task=task)) as worlds:
        worlds.reset([0], [4])
        zone = worlds.view.position(ZONES[worlds.memory['zone'][0]])[0, :2]
        address = worlds.scene.address('jnt_qposadr', BLOCKS[worlds.memory['block'][0]])
        place = upright([zone[0] + offset, zone[1]], height)
        worlds.physics.write('qpos', range(address, address + 7), place, [0])
        worlds.physics.forward([0])
        assert bool(worlds.success()[0]) == solved
        assert (worlds.progress()[0] == 1.0) == solved


def test_the_block_begins_outside_every_zone():
    task = Push()
    with contextlib.closing(Worlds(spec_of(task), 1, task=task)) as worlds:
        for seed in range(20):
            worlds.reset([0], [seed])
            objects = worlds.objects(0)
            zones = [pose[:2] for name, pose in objects.items() if name.startswith('zone')]
            block = worlds.view.position(BLOCKS[worlds.memory['block'][0]])[0, :2]
            assert min(np.linalg.norm(block - zone) for zone in zones) > 2 * INSIDE
