"""Work in processes that may crash: results in order, and a lock for one run per folder."""
