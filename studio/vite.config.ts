import { svelte } from "@sveltejs/vite-plugin-svelte";
import { katexParts } from "./katex-parts.ts";
import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [katexParts(), svelte()],
  base: "./",
  build: {
    outDir: "../tf_lrp/studio/page",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    target: "es2022",
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rollupOptions: {
      output: { entryFileNames: "assets/studio.js", chunkFileNames: "assets/[name].js", assetFileNames: "assets/[name][extname]" },
    },
  },
  server: { proxy: { "/api": "http://127.0.0.1:8765" } },
  test: { include: ["tests/**/*.test.ts"] },
});
