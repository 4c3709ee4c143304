"""From YAML to objects, and from a checkpoint back to a model."""
