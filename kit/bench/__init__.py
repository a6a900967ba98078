"""The measured comparison: what the kit costs beside what it replaces.

`kit bench` and `kit bench --quick`. The same scripted replies go through four ways
(`ways`): bare Socket.IO, Socket.IO with SQL history, the guide's own way of writing to
Convex, and the kit. A `Plan` says what is measured, a `Measurement` carries it out in a
`Lab`, `Results` hold what came of it; `tables`, `pictures` and `targets` show it.

What is compared is compared within one run on one machine, the ways taking turns:
ratios tell something, milliseconds alone little.
"""
