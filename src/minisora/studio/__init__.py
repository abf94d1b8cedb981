"""The studio: a server whose jobs survive crashes, over the verbs as requests.

    submit -> store (row) -> dispatch (queue) -> workers (processes) -> results (folder) -> store

Here: one server process that alone writes the database, and its worker processes. Not here: the
verbs (generate/).
"""
