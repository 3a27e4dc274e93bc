# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""World-model reward: what would be seen after an action chunk, and how far that is from a goal."""
