"""`kit doctor`: what keeps replies from streaming through Convex, and what to do.

The guide's "If it fails" list as probes. `await diagnose(...)` looks at the flag and
the URL (`settings`), who answers there (`reach`), a `subscription`, the `functions` and
their version, the `application`, its settings and its Convex client, the installed
`packages`, a `task` and its newest reply, and the `provider`'s key. What was found is
in `findings`; what that means, and what to do about it, in `faults`.

`repository` looks at the code of an application's repository instead, for
`kit doctor --repo`.

Nothing here changes anything, anywhere.
"""

from kit.doctor.examination import diagnose
from kit.doctor.findings import Diagnosis, Finding

__all__ = ["Diagnosis", "Finding", "diagnose"]
