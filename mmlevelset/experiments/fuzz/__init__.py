"""Random inputs for the ops, compared with their definitions in float64."""
