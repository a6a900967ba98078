/** A deployment of the kit's own functions, and the scripted provider that they ask. */
import { ConvexHttpClient } from "convex/browser";
import { afterAll, beforeAll } from "vitest";
import { api } from "../build/convex/_generated/api";
import { useDeployment } from "./deployment";
import { KitProcess } from "./process";

export { api };

/** For all tests of the file that calls this. The provider sends 60 tokens a second. */
export function useKit() {
  const provider = new KitProcess("kit.llm.scripted", ["--pace", "60"]);
  beforeAll(() => provider.start());
  const deployment = useDeployment({
    functions: null,
    env: () => ({ KIT_SCRIPTED_URL: provider.url }),
  });
  afterAll(() => provider.stop());
  return {
    get url() {
      return deployment.url;
    },
    get process() {
      return deployment.process;
    },
    provider,
    /** The id of a new task. */
    async newTask() {
      const client = new ConvexHttpClient(deployment.url, { logger: false });
      return await client.mutation(api.tasks.create, { title: "From vitest" });
    },
  };
}
