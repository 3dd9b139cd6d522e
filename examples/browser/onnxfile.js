// What an exported file says about itself, and the file as ONNX Runtime Web needs it.
//
// The file's inputs but the audio have defaults (initialisers of the same names). ONNX Runtime Web does not let a page
// set such inputs, so the defaults of those that it wants to set are taken out: then they are inputs like any other. An
// ONNX file is a protobuf message, of which only the few fields below are looked at (onnx.proto has their numbers).

const MODEL = { graph: 7, metadata: 14 };
const INITIALISER = 5; // of a graph
const TENSOR_NAME = 8;
const [VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES] = [0, 1, 2, 5];

/** `{ metadata, bytes }`: strings by name (without "hear_diffres."), and the file without defaults of `inputs`. */
export function prepare(file, inputs) {
  const metadata = {};
  const parts = [];
  let graphs = 0;
  for (const field of fields(file)) {
    if (field.number === MODEL.metadata) {
      const [key, value] = [1, 2].map((number) => text(field.content, number));
      metadata[key.replace(/^hear_diffres\./, "")] = value;
    }
    if (field.number !== MODEL.graph) {
      parts.push(field.whole);
      continue;
    }
    graphs += 1;
    const kept = withoutDefaults(field.content, inputs);
    parts.push(Uint8Array.of(MODEL.graph * 8 + LENGTH, ...varint(kept.length)), kept);
  }
  if (graphs !== 1 || !metadata.format) throw new Error("not a file that `hear-diffres export` wrote");
  return { metadata, bytes: join(parts) };
}

function withoutDefaults(graph, inputs) {
  const isDefault = (f) => f.number === INITIALISER && inputs.includes(text(f.content, TENSOR_NAME));
  return join([...fields(graph)].filter((f) => !isDefault(f)).map((f) => f.whole));
}

function* fields(bytes) {
  for (let at = 0; at < bytes.length; ) {
    const from = at;
    const number = () => {
      let value = 0;
      for (let scale = 1; ; scale *= 128) {
        if (at >= bytes.length) throw new Error("the model file is damaged");
        const byte = bytes[at++];
        value += (byte & 127) * scale;
        if (byte < 128) return value;
      }
    };
    const tag = number();
    const kind = tag % 8;
    if (![VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES].includes(kind)) throw new Error("the model file is damaged");
    if (kind === VARINT) number();
    const size = { [VARINT]: 0, [EIGHT_BYTES]: 8, [FOUR_BYTES]: 4 }[kind] ?? number();
    const start = at;
    at += size;
    if (at > bytes.length) throw new Error("the model file is damaged");
    yield { number: Math.floor(tag / 8), content: bytes.subarray(start, at), whole: bytes.subarray(from, at) };
  }
}

function text(message, number) {
  for (const field of fields(message)) if (field.number === number) return new TextDecoder().decode(field.content);
  return "";
}

function varint(value) {
  const bytes = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return [...bytes, value];
}

function join(parts) {
  const out = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
