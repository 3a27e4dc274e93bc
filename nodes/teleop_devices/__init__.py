# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Devices that a person drives with; each is named in a mapping file of teleop/."""
