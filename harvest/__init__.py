"""Sources: each module yields `harvest.record` records and knows nothing of SQLite."""
