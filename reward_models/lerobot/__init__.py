# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""LeRobot's reward models as ours, and ours for LeRobot."""
