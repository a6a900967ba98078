/**
 * Lays the templates out as a user copies them: below `build/`, with the application's
 * own hook and the functions in TypeScript where the templates look for them.
 */
import { cp, mkdir, readdir, rm, symlink } from "node:fs/promises";
import { join } from "node:path";

const here = import.meta.dirname;
const kit = join(here, "../../kit");
const hooks = join(here, "build/apps/frontend/hooks");

export async function setup() {
  await rm(join(here, "build"), { recursive: true, force: true });
  await mkdir(join(hooks, "socket"), { recursive: true });
  await cp(join(kit, "templates"), join(hooks, "convex"), {
    recursive: true,
    filter: (path) => !path.endsWith(".md") && !path.endsWith("server"),
  });
  const server = join(here, "build/apps/server/src/lib");
  await cp(join(kit, "templates/server"), server, { recursive: true });
  await cp(
    join(here, "app/use-task-socket.ts"),
    join(hooks, "socket/use-task-socket.ts"),
  );
  await linkFunctions(join(kit, "convex"), join(here, "build/convex"));
}

/** All but the Python ones, which are no part of what a user deploys. */
async function linkFunctions(source, target) {
  await mkdir(target);
  for (const name of await readdir(source)) {
    if (name.endsWith(".py") || name.startsWith("__")) continue;
    await symlink(join(source, name), join(target, name));
  }
}

if (process.argv[1] === import.meta.filename) await setup();
