"""The frame of the papers: form of an entry, toy data, training, measuring, pages."""
