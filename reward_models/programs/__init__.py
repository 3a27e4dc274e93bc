# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Reward programs: what a language model wrote, checked, admitted by a person, and run behind RewardModel."""
