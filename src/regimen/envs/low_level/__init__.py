"""Tasks whose actions are commands of a trained policy: hierarchical control with a frozen lower level."""
