"""The edge: holds the browsers' connections and delivers each user's stream, in order, acknowledged, resumable, on every device."""
