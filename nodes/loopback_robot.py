# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The loopback robot: the topics, clocks and faults of the simulated robot, without physics or GL."""

from __future__ import annotations

from apprentice.nodes.runtime import run
from apprentice.nodes.sim_robot import SimRobotNode
from apprentice.sim.loopback import LoopbackWorld


class LoopbackRobotNode(SimRobotNode):
    """See :class:`~apprentice.sim.loopback.LoopbackWorld`; parameters as those of ``sim_robot``."""

    def __init__(self) -> None:
        super().__init__('loopback_robot')

    def make_world(self, seed: int) -> LoopbackWorld:
        return LoopbackWorld(self.spec, seed)


def main() -> None:
    """Entry point of ``loopback_robot_node``."""
    run(LoopbackRobotNode)


if __name__ == '__main__':
    main()
