"""The eight tool classes of the BFCL multi-turn benchmark, written for this project.

Names, signatures, defaults, constants and result texts equal those of bfcl_eval 2026.3.23 (Apache-2.0), as
seen by a fresh process; the code is this project's own. Per-episode quirks are kept, leaks between episodes
are not.
"""
