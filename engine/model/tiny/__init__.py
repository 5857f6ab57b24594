"""The default model `tiny`: its data, its training and its evaluation.

The weights lie in the folder ``weights`` and load through transformers; nothing here is needed
to run them.
"""
