"""What a person sees: console, tables, figures, video, intervals."""
