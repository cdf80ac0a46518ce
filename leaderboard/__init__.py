"""The leaderboard: records to static pages, without torch."""
