"""An embedded Convex deployment: functions in Python, documents in SQLite.

Import the submodules: function modules import `kit.deployment.functions`; the process
is `python -m kit.deployment`. Nothing is imported here, so that a module of functions
stays cheap to load.
"""
