"""From command-line arguments to one typed, checked configuration."""
