# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The simulated arm's MJCF."""

from __future__ import annotations

from pathlib import Path

import mujoco


class ArmModel:
    """Six joints and a parallel gripper on a table; see ``models/arm.xml``."""

    path = Path(__file__).parent / 'models' / 'arm.xml'

    def load(self) -> mujoco.MjSpec:
        """A fresh, editable specification."""
        return mujoco.MjSpec.from_file(str(self.path))
