"""Work in processes that may crash: results in order, and a lock that allows one run in a folder."""
