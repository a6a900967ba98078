"""`kit doctor --repo`: what in a repository's code keeps replies from streaming.

`await examine_repository(path)` reads the code with syntax trees, one module per kind
of finding, and what the settings file leads to with the probes of `kit doctor`. What a
finding means is in `rules`; how all of them are shown in `findings` and `sarif`.

Nothing here changes anything, or runs anything of the repository's.
"""

from kit.doctor.repository.examination import examine_repository
from kit.doctor.repository.findings import Found, Review

__all__ = ["Found", "Review", "examine_repository"]
