# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""From potentials and scores to rewards: one file a transform, composed in YAML (pipeline.py)."""
