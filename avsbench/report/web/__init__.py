"""`results/leaderboard.html`: one page that holds its data, its style and its script, and asks nothing of a network."""
