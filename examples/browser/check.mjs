// Drives the page in a headless Chromium: node check.mjs URL CHROMIUM PROFILE MICROPHONE.wav SOUND.wav ...
//
// Prints, as JSON, what the page made of the sounds and of three seconds of a microphone that hears MICROPHONE.wav.
// PROFILE is an empty folder for the browser. Any request to another host than the page's is refused and reported.

import { chromium } from "playwright-core";

const [url, executablePath, profile, microphone, ...sounds] = process.argv.slice(2);
const context = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  permissions: ["microphone"],
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream", `--use-file-for-fake-audio-capture=${microphone}`,
  ],
});
try {
  const page = context.pages()[0] ?? (await context.newPage());
  const faults = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  await page.route(
    (address) => address.host !== new URL(url).host,
    (route) => {
      faults.push(`asked for ${route.request().url()}`);
      return route.abort();
    },
  );
  await page.goto(url);
  // Waits for something of the page, unless the page says that it failed.
  const until = async (condition, argument) => {
    const failed = () => page.innerText("#state").then((text) => text.startsWith("failed") && text);
    for (let tries = 0; tries < 600; tries++) {
      if (await page.evaluate(condition, argument)) return;
      const said = faults.join("; ") || (await failed());
      if (said) throw new Error(`the page says: ${said}`);
      await new Promise((done) => setTimeout(done, 100));
    }
    throw new Error(`nothing came for a minute; the page says: ${await page.innerText("#state")}`);
  };
  const rows = (count) => until((n) => document.querySelectorAll("#rows tr").length === n, count);
  await until(() => !document.getElementById("sounds").disabled);
  await page.setInputFiles("#sounds", sounds);
  await rows(sounds.length);
  await page.click("#record");
  await rows(sounds.length + 1);
  const results = await page.evaluate(async () => {
    const { embedder, sounds } = window.page;
    const all = [];
    for (const { name, samples, scene, milliseconds } of sounds) {
      const stamps = (await embedder.timestamps(samples)).map((vector) => Array.from(vector));
      all.push({ name, milliseconds, samples: Array.from(samples), scene: Array.from(scene), stamps });
    }
    return { sounds: all, rows: Array.from(document.querySelectorAll("#rows tr"), (row) => row.innerText) };
  });
  process.stdout.write(JSON.stringify({ ...results, faults, browser: context.browser()?.version() ?? "" }));
} finally {
  await context.close();
}
