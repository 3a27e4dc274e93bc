# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Benchmarks: ours beside what a user would otherwise take, in one run. See docs/benchmarks.md."""
