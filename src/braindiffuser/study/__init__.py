"""Several subjects as a study: finished runs of the same test pictures put together, and features averaged over subjects."""
