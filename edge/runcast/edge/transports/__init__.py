"""Ways to read a user's stream other than the WebSocket. One cursor for all of them: a position of one is good for every other."""
