"""What runs by the clock, whatever else happens.

The sweep for dead producers schedules itself while replies are being written, see
`_sweeps`. That chain ends if one of its runs fails; this one does not.
"""

from kit.deployment.functions import cron_jobs

crons = cron_jobs()

crons.interval(
    "look for replies whose producer died", {"hours": 1}, "streaming:sweep", {}
)
