r"""Tables and lists from outside, entry by entry: csv, tsv, json, jsonl, parquet and txt.

Lines end at \n or \r\n and nowhere else: U+2028, which word processors paste, stays inside its
line. Blank entries are passed over and counted. A broken one costs itself; a file that cannot be
read, or is of another layout, raises UsageError.

Here: entries and what was passed over (entry.py), encodings and lines (text.py), csv
(delimited.py), JSON (objects.py), all of them as records (records.py), lists of prompts
(prompts.py).
Not here: the layouts of data sets (curate/importers/), which file a name means (folders.py).
"""
