"""Pictures and reports of results; matplotlib and the like are imported where they are needed."""
