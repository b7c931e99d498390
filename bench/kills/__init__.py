"""``python -m bench kills``: work that is killed, at random moments and at every step, and begun again."""
