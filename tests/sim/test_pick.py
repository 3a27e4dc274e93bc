# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pick up the named cube."""

from task_checks import check_expert, check_failures, check_starts

from apprentice.sim.tasks.pick import PickCube


def test_expert():
    check_expert(PickCube(), range(12))


def test_failures():
    check_failures(PickCube(), range(2))


def test_starts():
    check_starts(PickCube())
