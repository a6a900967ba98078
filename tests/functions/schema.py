"""The tables of the functions that the deployment's tests run."""

from kit.deployment.functions import define_schema, define_table
from kit.values import v

schema = define_schema(
    {
        "notes": define_table(
            {"channel": v.string(), "body": v.string()},
        ).index("by_channel", ["channel"]),
        "counters": define_table({"name": v.string(), "value": v.number()}).index(
            "by_name", ["name"]
        ),
    }
)
