"""Images encoded as features in the observations: description of an encoder, wrapper."""
