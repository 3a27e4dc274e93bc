# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Environment variables that ROS needs when it was installed by pip instead of apt."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, MutableMapping
from pathlib import Path


def prepare(environment: MutableMapping[str, str] | None = None) -> None:
    """Name the virtual environment as a ROS prefix, unless a ROS installation is sourced."""
    environment = os.environ if environment is None else environment
    if not environment.get('AMENT_PREFIX_PATH'):
        environment['AMENT_PREFIX_PATH'] = sys.prefix


def limit_discovery(environment: MutableMapping[str, str] | None = None) -> str | None:
    """Keep DDS discovery on this machine unless the user chose; returns a line to show, or None."""
    environment = os.environ if environment is None else environment
    if 'ROS_AUTOMATIC_DISCOVERY_RANGE' in environment:
        return None
    environment['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    return (
        'ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST: only nodes on this machine are seen; '
        'export ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET if drivers run on another one'
    )


def ament_prefixes(environment: MutableMapping[str, str] | None = None) -> list[Path]:
    """The ROS prefixes in their order of precedence."""
    environment = os.environ if environment is None else environment
    return [Path(p) for p in environment.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p]


def free_domain(candidates: Iterable[int]) -> int | None:
    """The first ROS domain id of ``candidates`` whose discovery port nobody on this machine has open."""
    for domain in candidates:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(('', 7400 + 250 * domain))
            except OSError:
                continue
            return domain
    return None
