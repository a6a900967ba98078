/** The scenarios that both languages' functions have to play alike. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type ScenarioFile, ScenarioRunner } from "./scenario.runner";

const FOLDER = new URL("../../tests/scenarios/", import.meta.url);

const files = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));

test("there are scenarios", () => {
  expect(files.length).toBeGreaterThan(5);
});

for (const file of files) {
  const text = readFileSync(new URL(file, FOLDER), "utf8");
  const { setup, scenarios } = JSON.parse(text) as ScenarioFile;
  for (const { name, steps } of scenarios) {
    test(`${file}: ${name}`, async () => {
      await ScenarioRunner.play([...setup, ...steps]);
    });
  }
}
