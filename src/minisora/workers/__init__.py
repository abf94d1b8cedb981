"""Work in processes that may be lost: results in order, and one run at a time in a folder."""
