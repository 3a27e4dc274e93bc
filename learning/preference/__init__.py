# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Preferences for the policy: pairs of chunks at one observation, who makes them, and DPO on both heads."""
