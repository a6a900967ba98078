"""A copy of the fixture with packages installed, so that its types can be checked."""

from pathlib import Path

from node import install, require_node

__all__ = ["install_packages"]

ROOT = Path(__file__).parent.parent
NPM = ROOT / "tests" / "npm"
FUNCTIONS = ROOT / "kit" / "convex"
_STUBS = """\
declare module "@prisma/client" {
  interface Row {
    id: string;
    role: string;
    content: string;
  }
  export class PrismaClient {
    chatMessage: {
      create(args: { data: object }): Promise<Row>;
      update(args: { where: { id: string }; data: object }): Promise<Row>;
      findMany(args: object): Promise<Row[]>;
    };
    task: { update(args: { where: { id: string }; data: object }): Promise<void> };
  }
}
declare module "socket.io" {
  export interface Socket {
    join(room: string): Promise<void>;
    on<Data>(event: string, listener: (data: Data) => void): void;
  }
  export class Server {
    constructor(port: number);
    to(room: string): { emit(event: string, data: unknown): void };
    on(event: "connection", listener: (socket: Socket) => void): void;
  }
}
"""


def install_packages(root: Path) -> None:
    """Link the packages of the tests' own projects, TypeScript among them."""
    require_node()
    install(NPM)
    install(FUNCTIONS)
    modules = root / "node_modules"
    modules.mkdir()
    for project in (NPM, FUNCTIONS):
        for package in sorted((project / "node_modules").iterdir()):
            if package.name.startswith("@"):
                scope = modules / package.name
                scope.mkdir(exist_ok=True)
                for scoped in package.iterdir():
                    _link(scope / scoped.name, scoped)
            elif not package.name.startswith("."):
                _link(modules / package.name, package)
    # Packages that are not installed here: as much of them as the fixture uses.
    (root / "apps/server/src/stubs.d.ts").write_text(_STUBS)


def _link(link: Path, target: Path) -> None:
    if not link.exists():
        link.symlink_to(target)
