// The page: sounds come in as files or from the microphone, each becomes a row.

import { Embedder, SAMPLE_RATE, decode, record, similarity } from "./embedder.js";

const WASM = new URL("node_modules/onnxruntime-web/dist/", import.meta.url).href;
const element = (id) => document.getElementById(id);
const state = (text) => (element("state").textContent = text);

const page = { embedder: null, sounds: [] };
window.page = page; // for check.mjs

async function open(file, name) {
  state(`opening ${name} …`);
  page.embedder = await Embedder.load(file, WASM);
  page.sounds = [];
  show();
  for (const id of ["sounds", "record"]) element(id).disabled = false;
  const { model, embedding, embedding_size, reduction } = page.embedder.metadata;
  state(`${name} is ready: ${model}, ${embedding} (${embedding_size} numbers), ${100 * reduction} % of frames removed`);
}

async function add(name, samples) {
  const started = performance.now();
  const scene = await page.embedder.scene(samples);
  page.sounds.push({ name, samples, scene, milliseconds: performance.now() - started });
  show();
}

function show() {
  const { sounds } = page;
  const mean = sounds.length ? sounds[0].scene.map((_, i) => sounds.reduce((t, s) => t + s.scene[i], 0) / sounds.length) : [];
  element("rows").replaceChildren(
    ...sounds.map((sound) => {
      const others = sounds.filter((other) => other !== sound);
      const likeness = others.map((other) => similarity(sound.scene, other.scene, mean));
      const best = likeness.indexOf(Math.max(...likeness));
      const seconds = sound.samples.length / SAMPLE_RATE;
      const row = document.createElement("tr");
      for (const text of [sound.name, `${seconds.toFixed(2)} s`, `${sound.milliseconds.toFixed(0)} ms`]) {
        row.insertCell().textContent = text;
      }
      row.insertCell().append(picture(sound.scene));
      row.insertCell().textContent = best < 0 ? "" : `${others[best].name} (${likeness[best].toFixed(2)})`;
      return row;
    }),
  );
}

/** A vector as a strip: dark where its values are large. */
function picture(vector) {
  const canvas = Object.assign(document.createElement("canvas"), { width: vector.length, height: 1 });
  const order = Float32Array.from(vector).sort();
  const [low, high] = [order[Math.floor(0.02 * order.length)], order[Math.floor(0.98 * order.length)]];
  const image = new ImageData(vector.length, 1);
  vector.forEach((value, i) => {
    const grey = 255 * (1 - (value - low) / Math.max(high - low, 1e-9));
    image.data.set([grey, grey, grey, 255], 4 * i);
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** A failure is said on the page. */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    state(`failed: ${error.message ?? error}`);
  }
}

const on = (id, event, action) => element(id).addEventListener(event, () => attempt(() => action(element(id))));

on("model", "change", async ({ files: [file] }) => open(await file.arrayBuffer(), file.name));
on("sounds", "change", async ({ files }) => {
  for (const file of files) await add(file.name, await decode(await file.arrayBuffer()));
});
on("record", "click", async (button) => {
  button.disabled = true;
  try {
    state("listening …");
    await add(`microphone ${page.sounds.length + 1}`, await record(3));
    state("");
  } finally {
    button.disabled = false;
  }
});

// A model beside the page is opened at once.
await attempt(async () => {
  const beside = await fetch("model.onnx");
  if (beside.ok) await open(await beside.arrayBuffer(), "model.onnx");
  else state("choose a model that `hear-diffres export` wrote, or put it beside this page as model.onnx");
});
