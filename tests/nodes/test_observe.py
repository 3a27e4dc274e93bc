# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Sets of images and joint states: of one moment where the cameras allow it, and never old ones."""

from dataclasses import replace

import numpy as np
import pytest

from apprentice.nodes import convert
from apprentice.nodes.observe import Observer
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))


class Rig:
    """Hands messages to an observer in a chosen order; a frame's grey value is its number."""

    def __init__(self, ros, spec=SPEC, exact=False):
        self.sets: list[tuple[dict[str, int], float]] = []
        self.spec, self.observer = spec, Observer(ros.node, spec, self._take, exact)

    def _take(self, images, state, stamp):
        self.sets.append(({name: int(image[0, 0, 0]) for name, image in images.items()}, stamp))

    def image(self, name, stamp, number):
        frame = np.full((64, 64, 3), number, np.uint8)
        self.observer._on_image(name, convert.image_msg(frame, stamp, name))

    def joints(self, stamp):
        message = convert.joint_state_msg(stamp, self.spec.joint_names, self.spec.vector('home'))
        self.observer._on_joints(message)


@pytest.mark.parametrize('order', ['front wrist joints', 'joints front wrist', 'wrist joints front'])
@pytest.mark.parametrize('exact', [True, False])
def test_a_moment_comes_whole_in_any_order(ros, order, exact):
    rig = Rig(ros, exact=exact)
    for number in range(1, 6):
        stamp = 100 + 0.1 * number
        for word in order.split():
            rig.joints(stamp) if word == 'joints' else rig.image(word, stamp, number)
    assert [images for images, _ in rig.sets] == [{'front': n, 'wrist': n} for n in range(1, 6)]


def test_cameras_that_run_freely_are_joined(ros):
    names = ('a', 'b', 'c', 'd')
    cameras = tuple(replace(SPEC.cameras[0], name=name, topic=f'camera/{name}') for name in names)
    rig = Rig(ros, replace(SPEC, cameras=cameras))
    for tick in range(40):
        stamp = 100 + 0.025 * tick
        rig.image(names[tick % 4], stamp, tick)
        rig.joints(stamp)
    assert len(rig.sets) >= 30


def test_a_camera_that_stopped_is_named_and_not_used(ros):
    rig = Rig(ros)
    for number in range(1, 12):
        rig.image('front', 100 + 0.1 * number, number)
        if number < 3:
            rig.image('wrist', 100 + 0.1 * number, number)
        rig.joints(100 + 0.1 * number)
    assert len(rig.sets) == 2
    assert 'wrist' in rig.observer.problem


def test_observations_go_on_after_the_clock_was_set_back(ros):
    rig = Rig(ros)
    for number, stamp in enumerate([100.0, 100.1, 50.0, 50.1], 1):
        rig.joints(stamp)
        for name in ('front', 'wrist'):
            rig.image(name, stamp, number)
    assert [stamp for _, stamp in rig.sets] == pytest.approx([100.0, 100.1, 50.0, 50.1])
