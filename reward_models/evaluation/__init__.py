# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""How good a reward model is: curves, numbers, verdict."""
