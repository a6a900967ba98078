"""What a notebook or a server uses to reach a Convex deployment, embedded or real.

`Deployment` for code that awaits, `BlockingDeployment` for plain cells and scripts.
Knows Convex's public API only: nothing here depends on what the deployment is.
"""

from kit.client.blocking import BlockingDeployment
from kit.client.deployment import Deployment
from kit.client.subscription import Subscription

__all__ = ["BlockingDeployment", "Deployment", "Subscription"]
