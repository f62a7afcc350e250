"""Datasets: episodes in HDF5, their card, the gates a card must pass, and splits."""
