# SPDX-License-Identifier: MIT OR Apache-2.0
"""The benchmarks as one program; README.md says what they measure."""
