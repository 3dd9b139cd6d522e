// Audio in, embeddings out: a file that `hear-diffres export` wrote, in ONNX Runtime's WebAssembly build.

import * as ort from "onnxruntime-web";
import { prepare } from "./onnxfile.js";

export const SAMPLE_RATE = 32000;

export class Embedder {
  constructor(session, metadata) {
    this.session = session;
    this.metadata = metadata;
  }

  /** Opens an exported model, given as an ArrayBuffer. `wasm` is the folder of ONNX Runtime's files. */
  static async load(file, wasm) {
    const { metadata, bytes } = prepare(new Uint8Array(file), ["hop_ms"]);
    ort.env.wasm.wasmPaths = wasm;
    // More threads need a page that is cross-origin isolated, which a plain file server does not make.
    ort.env.wasm.numThreads = 1;
    const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], logSeverityLevel: 3 });
    return new Embedder(session, metadata);
  }

  /** The scene embedding of mono samples (Float32Array, 32 kHz, any length from one sample): a Float32Array. */
  async scene(samples) {
    return (await this.#run(samples, 0, "scene_embeddings")).data;
  }

  /** An embedding every `hopMs`, one Float32Array each; the k-th is that of `k * hopMs` milliseconds. */
  async timestamps(samples, hopMs = 50) {
    const { data, dims } = await this.#run(samples, hopMs, "timestamp_embeddings");
    return Array.from({ length: dims[1] }, (_, k) => data.slice(k * dims[2], (k + 1) * dims[2]));
  }

  /** Whole sounds of any length: the graph itself sees to long ones chunk by chunk. */
  async #run(samples, hopMs, output) {
    const feeds = { audio: asInput(samples), hop_ms: new ort.Tensor("float64", [hopMs], []) }; // 0: no timestamps
    return (await this.session.run(feeds, [output]))[output];
  }
}

function asInput(samples) {
  if (!(samples instanceof Float32Array) || samples.length === 0) {
    throw new TypeError("samples must be a Float32Array of at least one sample");
  }
  if (!samples.every(Number.isFinite)) throw new RangeError("samples must be finite");
  return new ort.Tensor("float32", samples, [1, samples.length]);
}

/** Whatever the browser can decode, as mono samples at 32 kHz (the browser resamples). */
export async function decode(bytes) {
  const buffer = await new OfflineAudioContext(1, 1, SAMPLE_RATE).decodeAudioData(bytes);
  return mono(Array.from({ length: buffer.numberOfChannels }, (_, c) => buffer.getChannelData(c)));
}

function mono(channels) {
  return Float32Array.from(channels[0], (_, i) => channels.reduce((sum, c) => sum + c[i], 0) / channels.length);
}

/** So many seconds of the microphone at 32 kHz, as it hears them: no echo cancelling, no automatic gain. */
export async function record(seconds) {
  const plain = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const microphone = await navigator.mediaDevices.getUserMedia({ audio: plain });
  const context = new AudioContext({ sampleRate: SAMPLE_RATE });
  try {
    await context.audioWorklet.addModule(new URL("recorder.js", import.meta.url));
    const options = { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" };
    const recorder = new AudioWorkletNode(context, "recorder", options);
    const samples = new Float32Array(Math.round(seconds * SAMPLE_RATE));
    let filled = 0;
    const full = new Promise((done) => {
      recorder.port.onmessage = ({ data }) => {
        samples.set(data.subarray(0, samples.length - filled), filled);
        filled = Math.min(samples.length, filled + data.length);
        if (filled === samples.length) done();
      };
    });
    context.createMediaStreamSource(microphone).connect(recorder);
    await full;
    return samples;
  } finally {
    microphone.getTracks().forEach((track) => track.stop());
    await context.close();
  }
}

/** Cosine similarity of two vectors less `mean`. */
export function similarity(a, b, mean) {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] - mean[i], b[i] - mean[i]];
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return ab / Math.max(Math.sqrt(aa * bb), 1e-12);
}
