"""The HEAR benchmark's evaluation without TensorFlow or Lightning: the same splits, MLP, grid, stopping and metrics."""
