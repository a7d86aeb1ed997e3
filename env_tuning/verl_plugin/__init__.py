"""The rooms that know verl: agent loop, CPU platform and workers, trainer, rollout engine, entry point.

Owns: nothing but the moment of registration. verl loads this package through the entry-point group
``verl.plugins`` and through ``VERL_USE_EXTERNAL_MODULES``, both at the end of ``import verl``; only then are
verl's registries filled. Imported before verl (by the launcher, or by the rollout server, which never imports
verl at all), the package stays empty and light; every module here that needs verl imports `registration` itself.
"""

import sys

if "verl" in sys.modules:
    from env_tuning.verl_plugin import registration  # noqa: F401
