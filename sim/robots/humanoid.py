# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The simulated humanoid's MJCF."""

from __future__ import annotations

from pathlib import Path

import mujoco


class HumanoidModel:
    """Seventeen joints, standing, its pelvis on a carriage that keeps it from falling over.

    See ``models/humanoid.xml``.
    """

    path = Path(__file__).parent / 'models' / 'humanoid.xml'

    def load(self) -> mujoco.MjSpec:
        """A fresh, editable specification."""
        return mujoco.MjSpec.from_file(str(self.path))
