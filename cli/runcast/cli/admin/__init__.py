"""`runcast admin`: what operators look at and do, from a terminal, over AdminService."""
