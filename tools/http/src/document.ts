/**
 * The OpenAPI document that a service serves, read as a stranger does: what operations there are, and whether an answer is one that
 * the document has announced.
 */
import { Ajv2020, type AnySchema, type ValidateFunction } from "ajv/dist/2020.js";

export type JsonSchema = Readonly<Record<string, unknown>>;

export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required?: boolean;
  readonly schema: JsonSchema;
}

interface Announced {
  readonly description: string;
  readonly content?: Readonly<Record<string, { readonly schema: JsonSchema }>>;
  readonly headers?: Readonly<Record<string, unknown>>;
}

export interface Operation {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly parameters: readonly Parameter[];
  readonly body: {
    readonly isRequired: boolean;
    readonly content: Readonly<Record<string, { readonly schema: JsonSchema }>>;
  } | null;
  readonly answers: Readonly<Record<string, Announced>>;
}

interface RawOperation {
  readonly operationId: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly required?: boolean; readonly content: Record<string, { schema: JsonSchema }> };
  readonly responses: Readonly<Record<string, Announced>>;
}

/** What came back. */
export interface Seen {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly text: string;
}

/** Set by the platform, or in answer to what any request may say. */
const unannounced = new Set([
  "cache-control",
  "connection",
  "content-length",
  "content-security-policy",
  "content-type",
  "date",
  "keep-alive",
  "referrer-policy",
  "transfer-encoding",
  "vary",
  "x-accel-buffering",
  "x-content-type-options",
]);

export class ServiceDocument {
  readonly operations: readonly Operation[];
  readonly #document: { readonly components: { readonly schemas: Readonly<Record<string, JsonSchema>> } };
  readonly #ajv = new Ajv2020({ strict: false, validateFormats: false });
  readonly #validators = new Map<JsonSchema, ValidateFunction>();

  constructor(document: unknown) {
    const { paths } = document as { paths: Readonly<Record<string, Readonly<Record<string, RawOperation>>>> };
    this.#document = document as never;
    this.#ajv.addSchema(document as AnySchema, "document");
    this.operations = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { operationId, parameters = [], requestBody, responses }]) => ({
        id: operationId,
        method: method.toUpperCase(),
        path,
        parameters,
        body:
          requestBody === undefined
            ? null
            : { isRequired: requestBody.required === true, content: requestBody.content },
        answers: responses,
      })),
    );
  }

  /** The schema itself, where it is said by reference. */
  resolve(schema: JsonSchema): JsonSchema {
    const { $ref } = schema;
    return typeof $ref === "string" ? this.#document.components.schemas[$ref.split("/").at(-1)!]! : schema;
  }

  /** What the document does not announce, in words; none: the answer is as it says. */
  faultsOf({ id, answers }: Operation, { status, headers, text }: Seen): readonly string[] {
    const announced = answers[String(status)];
    if (announced === undefined) return [`${id}: status ${status} is not announced: ${text.slice(0, 300)}`];
    const faults: string[] = [];
    for (const name of Object.keys(headers)) {
      const isKnown = Object.keys(announced.headers ?? {}).some((each) => each.toLowerCase() === name);
      if (!isKnown && !unannounced.has(name)) faults.push(`${id}: header ${name} of ${status} is not announced`);
    }
    const type = String(headers["content-type"] ?? "").split(";")[0]!;
    const content = announced.content?.[type];
    if (type === "" && text === "" && (announced.content === undefined || status === 304)) return faults;
    if (content === undefined) return [...faults, `${id}: ${status} with ${type || "no type"} is not announced`];
    if (type.endsWith("+json") || type === "application/json") {
      faults.push(...this.#faultsOfJson(id, content.schema, text));
    } else if (type === "application/x-ndjson") {
      for (const line of text.trimEnd().split("\n")) faults.push(...this.#faultsOfJson(id, content.schema, line));
    }
    if (type === "application/problem+json") {
      const { code } = JSON.parse(text) as { code: string };
      if (!announced.description.includes(`${code}: `)) faults.push(`${id}: the problem ${code} is not announced`);
    }
    return faults;
  }

  #faultsOfJson(id: string, schema: JsonSchema, text: string): readonly string[] {
    let validate = this.#validators.get(schema);
    if (validate === undefined) {
      // References are into the document, not into the piece of it.
      const anchored = JSON.parse(JSON.stringify(schema).replaceAll('"$ref":"#/', '"$ref":"document#/')) as AnySchema;
      validate = this.#ajv.compile(anchored);
      this.#validators.set(schema, validate);
    }
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return [`${id}: the answer is no JSON: ${text.slice(0, 200)}`];
    }
    if (validate(value)) return [];
    return (validate.errors ?? []).map(
      ({ instancePath, message, params }) =>
        `${id}: the answer is not as its schema says: ${instancePath} ${message} ${JSON.stringify(params)}`,
    );
  }
}
