"""`runcast replay`: what was stored of a user, played again."""
