"""The report on a run: one static page, and plots.

Owns: reading output folders into plain data, and writing them as a page or as plots. Refuses: verl, torch and ray,
changing a run, judging anything anew: it shows what the records hold.
"""
