"""What work that takes hours needs: locks, files that are written atomically, fingerprints, and resuming after an interruption.

- `locks`: one process at a time works in a folder.
- `atomic_files`: a file is written completely or not at all.
- `fingerprints`: digests that tell whether data and weights are those of an earlier run.
- `resume`: which settings differ from those of an earlier run.
"""
