# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Scheduling priority of a node: where cores are few, the gate and the drivers go first."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from rclpy.node import Node

from apprentice.nodes.runtime import parameter, simulated_time

_GROUP = Path('/proc/self/autogroup')


def give_way(node: Node, nice: int) -> None:
    """Declare the parameter ``nice`` and let other processes go first by so much.

    In simulated time nothing is late, so there the default is 0. Linux shares its cores between sessions
    first (autogroup, on by default on Ubuntu), and the nice value counts only within one. A node that leads
    a session of its own, as `apprentice up` starts it, therefore gives up the priority of its session too.
    What the system refuses costs only regularity.
    """
    simulated = simulated_time(node)
    about = 'scheduling priority given up, so that control stays regular; in simulated time 0'
    nice = parameter(node, 'nice', 0 if simulated else nice, about, 0, 19)
    if not nice:
        return
    with contextlib.suppress(OSError):
        os.nice(nice)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # no autogroups here
            _GROUP.write_text(str(nice))
