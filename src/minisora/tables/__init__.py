r"""Tables and lists from outside, entry by entry: csv, tsv, json, jsonl, parquet and txt.

Lines end at \n or \r\n only: U+2028, which word processors insert, does not end a line. Blank
entries are skipped and counted. A broken entry costs only itself; a file that cannot be read, or
has another layout, raises UsageError.

Here: entries and skipped ones (entry.py), encodings and lines (text.py), csv (delimited.py), JSON
and Parquet (objects.py), records of any of them (records.py), lists of prompts (prompts.py).
Not here: the layouts of data sets (curate/importers/), files of a folder (folders.py).
"""
