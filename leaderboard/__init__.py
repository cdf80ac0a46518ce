"""The leaderboard: records in, static pages out. Never imports torch."""
