"""The curriculum: stages, the gates between them, and the record of what started from what."""
