# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Robots for our scenes: models of our own, and any MJCF or URDF that a robot file names."""
