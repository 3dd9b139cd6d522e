"""Training: audio into shards, mixtures, a teacher, and the student that learns from it."""
