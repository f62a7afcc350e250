"""Commands: arguments in, text and an exit code out."""
