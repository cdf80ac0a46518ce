"""Site generation: records to static pages, all or nothing."""
