"""The cell magic `%%convex NAME`: this cell is a module of functions."""

from __future__ import annotations

import shlex

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, magics_class

from kit.errors import KitError
from kit.explore.functions import push_now
from kit.stack import Stack

__all__ = ["ConvexMagic"]

USAGE = "%%convex NAME [STACK]: the functions of this cell are NAME:..., on STACK"


@magics_class
class ConvexMagic(Magics):
    """Known to a kernel after `%load_ext kit.explore`."""

    @cell_magic
    def convex(self, line: str, cell: str) -> None:
        """Push this cell to the embedded deployment of the variable `stack`.

        `%%convex NAME` serves its functions as `NAME:...`; `%%convex NAME STACK` on
        the deployment of another variable. The cell does not run in the kernel.
        """
        words = shlex.split(line)
        if not 1 <= len(words) <= 2:
            raise UsageError(USAGE)
        module, name = [*words, "stack"][:2]
        try:
            paths = push_now(self._stack(name), module, cell)
        except KitError as error:  # short: the traceback would be the kit's own
            raise UsageError(str(error)) from None
        print("\n".join(paths) or f"{module} is loaded; it has no functions.")  # noqa: T201

    def _stack(self, name: str) -> Stack:
        found = self.shell.user_ns.get(name) if self.shell else None
        if not isinstance(found, Stack):
            raise UsageError(
                f"There is no stack in the variable {name!r}. Start one: "
                f"{name} = await Stack.start()"
            )
        return found
