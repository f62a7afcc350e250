"""Console, tables, figures, video, intervals."""
