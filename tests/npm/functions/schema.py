"""The table that clients page through."""

from kit.deployment.functions import define_schema, define_table
from kit.values import v

schema = define_schema(
    {
        "items": define_table({"list": v.string(), "rank": v.number()}).index(
            "by_list_rank", ["list", "rank"]
        ),
        "orders": define_table(
            {"list": v.string(), "order": v.union(v.literal("asc"), v.literal("desc"))}
        ).index("by_list", ["list"]),
    }
)
