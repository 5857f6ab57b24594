"""Writes the archive of the newest format."""

from tests.storage.formats.stores import main

main()
