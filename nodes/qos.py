# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Quality of service, by kind of topic.

Drivers publish sensors reliably with a shallow queue and consumers subscribe best effort, as
REP-2003 asks: the pair matches, the reverse never connects.
"""

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(reliability, durability, depth: int, **extra) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=reliability,
        durability=durability,
        **extra,
    )


_RELIABLE, _BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
_VOLATILE, _LATCHED = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL

SENSOR_PUBLISHER = _profile(_RELIABLE, _VOLATILE, 5)
# lock-step makes seconds of frames in one, and none may be lost to who asks for it reliably
SENSOR_LOCKSTEP = _profile(_RELIABLE, _VOLATILE, 100)
SENSOR = _profile(_BEST_EFFORT, _VOLATILE, 5)
COMMAND = _profile(_RELIABLE, _VOLATILE, 1, lifespan=Duration(seconds=0.5))
STATE = _profile(_RELIABLE, _LATCHED, 1)
LOG = _profile(_RELIABLE, _VOLATILE, 500)
# one report a reward model and episode: the latest of several models reach who comes late
HEALTH = _profile(_RELIABLE, _LATCHED, 10)
