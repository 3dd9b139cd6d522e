"""From evaluation results to a comparison: how good, against what, at what cost."""
