# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A staged reward from a handful of successful videos, without labels (arXiv 1612.06699)."""
