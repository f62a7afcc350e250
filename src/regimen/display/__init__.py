"""Output for people: console, tables, figures, video, intervals."""
