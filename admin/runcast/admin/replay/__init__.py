"""What was stored of a user, as a film that pages play, and as JSON lines; for `runcast replay` and for the dashboard."""
