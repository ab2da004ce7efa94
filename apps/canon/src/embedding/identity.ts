/**
 * Names the embedding model, so that a vector can say what made it.
 * Kept apart from model.ts: that file pulls TensorFlow.js in, and the main thread must not.
 */

/**
 * The model whose vectors the library stores. The version changes whenever the same text would get
 * another vector: other weights, another graph, another tokenizer, another length limit.
 */
export const embeddingModel = {
  name: "all-MiniLM-L6-v2",
  version: "tfjs-uint8-f20d0d47", // runtime, weight type, first digits of the weights' SHA-256
  dimensions: 384,
} as const;

/** Name and version in one string, as stored beside each vector. */
export const embeddingModelId = `${embeddingModel.name}@${embeddingModel.version}`;
