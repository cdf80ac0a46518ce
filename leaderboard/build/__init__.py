"""Records → a static site, all or nothing."""
