/**
 * Cuts a text into chunks small enough to embed, each with the object's name in front. Pure and deterministic.
 * What belongs into the text is decided elsewhere.
 */

export interface ChunkOptions {
  /** The object's name. Long names are cut to about 100 characters. */
  title: string;
  /** Budget of a chunk, name included. Default 80, about 60 English words; the retrieval numbers were measured so. */
  maxTokens?: number;
  /** Default: `estimateTokens`. */
  countTokens?: (text: string) => number;
}

/**
 * The chunks of a text, in order: whole sentences while they fit, a longer sentence by words, a longer word by
 * characters. No text is lost, runs of white space become one space. A blank text gives one chunk, the name;
 * no chunk is blank, so a blank text without a name gives none.
 * Blocks for about half a second a megabyte; `eachChunk` lets the caller pause in between.
 */
export function chunkText(text: string, options: ChunkOptions): string[] {
  return [...eachChunk(text, options)];
}

/** The same chunks one by one, each made when it is asked for: under 10 ms a step. */
export function* eachChunk(text: string, options: ChunkOptions): Generator<string, void> {
  const { maxTokens = 80, countTokens = estimateTokens } = options;
  const title = shortTitle(options.title);
  const prefix = title === "" ? "" : `${title}: `;
  // A long name may not eat the chunk: at least half of the budget is for the text.
  const budget = Math.max(1, Math.ceil(maxTokens / 2), maxTokens - countTokens(prefix));

  let isBlank = true;
  let open = "";
  let openTokens = 0;
  for (const piece of pieces(text, budget, countTokens)) {
    const tokens = countTokens(piece);
    if (openTokens + tokens > budget) {
      if (open.trim() !== "") yield prefix + open.trim();
      open = "";
      openTokens = 0;
    }
    open += piece;
    openTokens += tokens;
    isBlank = false;
  }
  if (open.trim() !== "") yield prefix + open.trim();
  if (isBlank && title !== "") yield title;
}

/**
 * About how many tokens the model sees. An estimate, since the tokenizer lives in the embedding threads: loading it
 * here too costs 90 ms and 15 MB, and it is slower than everything else here (1.2 s against 0.4 s a megabyte).
 * Being wrong is cheap: chunks aim at 80 tokens and the model reads 256, so even three times too few loses nothing.
 * Measured on the SRD spells: 0.76 to 1.21 real tokens for each one estimated, median 0.94.
 *
 * Latin words count one token per six letters, everything else one token per character, because the model's
 * vocabulary is English and spells other scripts out.
 */
export function estimateTokens(text: string): number {
  let tokens = 0;
  let wordLength = 0;
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i);
    if (isLatin(unit)) {
      wordLength += 1;
      continue;
    }
    tokens += Math.ceil(wordLength / 6);
    wordLength = 0;
    if (unit !== 0x20) tokens += 1;
  }
  return tokens + Math.ceil(wordLength / 6);
}

function isLatin(unit: number): boolean {
  if (unit >= 0x61) return unit <= 0x7a || (unit >= 0xc0 && unit < 0x250);
  return (unit >= 0x30 && unit <= 0x39) || (unit >= 0x41 && unit <= 0x5a);
}

function shortTitle(title: string): string {
  const clean = oneLine(title);
  if (clean.length <= maxTitleLength) return clean;
  return clean.slice(0, cutBefore(clean, maxTitleLength)).trimEnd();
}

/** Parts that fit the budget and, joined, are the text. */
function* pieces(text: string, budget: number, countTokens: (text: string) => number): Generator<string> {
  for (const sentence of sentences(text)) {
    if (countTokens(sentence) <= budget) {
      yield sentence;
      continue;
    }
    for (const word of sentence.match(/\S+\s*/gu) ?? []) {
      if (countTokens(word) <= budget) yield word;
      else yield* partsOfWord(word, budget, countTokens);
    }
  }
}

function* sentences(text: string): Generator<string> {
  for (const line of text.split(/[\n\r\u2028\u2029]+/u)) {
    const paragraph = oneLine(line);
    if (paragraph === "") continue;
    yield* segments(sentenceSegmenter, `${paragraph} `);
  }
}

/**
 * "Words" too long for a chunk: scripts written without spaces, where the segmenter knows the words, and junk,
 * which is cut by characters.
 */
function* partsOfWord(text: string, budget: number, countTokens: (text: string) => number): Generator<string> {
  for (const word of segments(wordSegmenter, text)) {
    if (countTokens(word) <= budget) {
      yield word;
      continue;
    }
    // No character costs more than one token by the estimate, so a slice as long as the budget fits.
    for (let start = 0; start < word.length;) {
      const end = start + cutInside(word.slice(start, start + budget + 1), budget);
      yield word.slice(start, end);
      start = end;
    }
  }
}

/**
 * Intl.Segmenter, window by window: a megabyte in one go took 115 s here, in windows 0.4 s.
 * The last segment of a window may be cut off, so it is read again at the start of the next.
 */
function* segments(segmenter: Intl.Segmenter, text: string): Generator<string> {
  let start = 0;
  while (text.length - start > windowLength) {
    const window = text.slice(start, start + cutBefore(text.slice(start, start + windowLength + 1), windowLength));
    const found = Array.from(segmenter.segment(window), (one) => one.segment);
    if (found.length > 1) found.pop();
    for (const segment of found) {
      yield segment;
      start += segment.length;
    }
  }
  for (const { segment } of segmenter.segment(text.slice(start))) yield segment;
}

// The locale is fixed: the machine's own would make chunks differ between machines.
const sentenceSegmenter = new Intl.Segmenter("en", { granularity: "sentence" });
const wordSegmenter = new Intl.Segmenter("en", { granularity: "word" });
const windowLength = 2_000;
const maxTitleLength = 100;

/** Control characters count as white space: SQLite's text functions stop at a NUL. */
function oneLine(text: string): string {
  return text.replace(/[\s\p{Cc}]+/gu, " ").trim();
}

/** Where to cut so that at most `length` units remain: after the last space, or else between two characters. */
function cutBefore(text: string, length: number): number {
  const space = text.lastIndexOf(" ", length - 1);
  return space > 0 ? space + 1 : cutInside(text, length);
}

/** At most `length`, one less where that would split a surrogate pair; never 0. */
function cutInside(text: string, length: number): number {
  if (text.length <= length) return text.length;
  const isPair = /^[\uD800-\uDBFF][\uDC00-\uDFFF]$/.test(text.slice(length - 1, length + 1));
  if (!isPair) return length;
  return length > 1 ? length - 1 : 2;
}
