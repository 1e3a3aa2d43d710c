// Bundles the page into cleaner/review/static/, readable, so that an installation of the package needs no Node.
// `node build.mjs FOLDER` writes the bundle elsewhere, for the test that compares it with the committed one.
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const folder = process.argv[2] ?? fileURLToPath(new URL("../cleaner/review/static/", import.meta.url));

await build({
  absWorkingDir: fileURLToPath(new URL(".", import.meta.url)),
  entryPoints: { review: "src/review.tsx" },
  bundle: true,
  charset: "utf8",
  format: "esm",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  outdir: folder,
  target: "es2022",
});
