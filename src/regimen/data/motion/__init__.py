"""Motion clips from files of others: read, repair, check, describe, draw, compare."""
