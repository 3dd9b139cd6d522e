"""What other benchmarks than HEAR ask for: an encoder for X-ARES, a model for MTEB's audio tasks (MAEB)."""
