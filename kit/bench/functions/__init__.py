"""The guide's way of streaming on Convex, as a yardstick: no part of the product.

A folder of functions of its own, served by an embedded deployment with `--functions`.
"""
