"""Catalogue, settings, names and state of tasks of other libraries, whose environments are built by managers."""
