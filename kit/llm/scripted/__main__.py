"""`python -m kit.llm.scripted`."""

import sys

from kit.llm.scripted import main

if __name__ == "__main__":
    sys.exit(main())
