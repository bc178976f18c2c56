// Builds the scripts and styles into a folder, with a hash of their content in their names and a manifest of those names.
// Usage: node build.mjs FOLDER
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import esbuild from "esbuild";
import * as sass from "sass";

const folder = process.argv[2];
const browsers = ["chrome123", "firefox120", "safari17.5"]; // the first that know light-dark()

function named(stem, extension, content) {
  const hash = createHash("sha256").update(content).digest("hex").slice(0, 16);
  const name = `${stem}.${hash}.${extension}`;
  writeFileSync(join(folder, name), content);
  return name;
}

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const manifest = {};
for (const file of readdirSync("styles").filter((each) => !each.startsWith("_"))) {
  const css = sass.compile(join("styles", file), { loadPaths: ["node_modules"], quietDeps: true }).css;
  const small = await esbuild.transform(css, { loader: "css", minify: true, target: browsers, legalComments: "none" });
  const stem = file.replace(/\.scss$/, "");
  manifest[`${stem}.css`] = named(stem, "css", small.code);
}
for (const file of readdirSync("scripts").filter((each) => !each.startsWith("_"))) {
  const built = await esbuild.build({
    entryPoints: [join("scripts", file)],
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    target: browsers,
    legalComments: "none",
  });
  const stem = file.replace(/\.js$/, "");
  manifest[`${stem}.js`] = named(stem, "js", built.outputFiles[0].text);
}
writeFileSync(join(folder, "manifest.json"), JSON.stringify(manifest, null, 2));
