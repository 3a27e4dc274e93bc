# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Is the reward model still to be trusted? Twelve detectors, a response ladder, audits."""
