"""The report on a run: one static page, and plots.

Owns: reading output folders into plain data, playing recorded calls again to show what a verdict rests on, and writing
all of it as a page or as plots. Refuses: verl, torch and ray, changing a run, and a verdict of its own: a replay that
disagrees with the record is not shown.
"""
