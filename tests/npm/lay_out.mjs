/**
 * Lays the templates out as a user copies them: below `build/`, with the application's
 * own hook and the deployment's functions where the templates look for them.
 */
import { cp, mkdir, rm, symlink } from "node:fs/promises";
import { join } from "node:path";

const here = import.meta.dirname;
const kit = join(here, "../../kit");
const hooks = join(here, "build/apps/frontend/hooks");

export async function setup() {
  await rm(join(here, "build"), { recursive: true, force: true });
  await mkdir(join(hooks, "socket"), { recursive: true });
  await cp(join(kit, "templates"), join(hooks, "convex"), {
    recursive: true,
    filter: (path) => !path.endsWith(".md"),
  });
  await cp(
    join(here, "app/use-task-socket.ts"),
    join(hooks, "socket/use-task-socket.ts"),
  );
  await symlink(join(kit, "convex"), join(here, "build/convex"));
}

if (process.argv[1] === import.meta.filename) await setup();
