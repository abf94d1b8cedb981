"""The HTTP interface of the studio, in the shape of OpenAI's videos API.

    body -> fields -> request -> job -> video object
    form.py  requests.py  submit.py  objects.py

Here: what clients send and get. Not here: jobs and workers (the folder above), verbs (generate/).
"""
