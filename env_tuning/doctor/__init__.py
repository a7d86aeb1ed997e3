"""The doctor: what would go wrong with a configuration, said before anything heavy starts.

Owns: rules from `Evidence` (a composed configuration, its data, its model, the machine) to `Finding` records, each of
which names a key and the fix; arithmetic of memory. Refuses: importing verl (`verl_plugin.registered` looks at its
registries), starting anything, changing anything. verl would meet the same mistakes minutes later, in another process,
as a traceback, as a hang, or never: as a run that trains on nothing.
"""
