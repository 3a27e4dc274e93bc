# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Reinforcement learning on action chunks: one core, one file an algorithm."""
