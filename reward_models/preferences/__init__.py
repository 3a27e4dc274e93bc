# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Rewards from comparisons: a Bradley-Terry ensemble, and which pairs to ask about."""
