# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A child process that runs one reward program and can do nothing else."""
