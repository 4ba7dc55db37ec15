"""What long work shares: locks, atomic files, fingerprints, going on after an interruption."""
