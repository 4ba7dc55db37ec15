import { defineConfig } from "@playwright/test";

/** The scenes run against a server that is up: STUDIO_URL is the link that it printed. */
export default defineConfig({
  testDir: "scenes",
  outputDir: process.env.STUDIO_OUT ?? "test-results",
  workers: 1,
  timeout: 120_000,
  expect: { timeout: 30_000 },
  reporter: [["list"]],
  use: {
    viewport: { width: 1440, height: 900 },
    acceptDownloads: true,
    permissions: ["clipboard-read", "clipboard-write"],
    launchOptions: { executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] },
    trace: "off",
    screenshot: "only-on-failure",
  },
});
