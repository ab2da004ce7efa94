/**
 * Prisma's own runtime and PostgreSQL adapter, put together as the client that `prisma generate` writes puts them together, for a
 * schema without models. To generate one takes Prisma's command line: 300 MB, and a program that it downloads.
 */
import { PrismaPg } from "@prisma/adapter-pg";
import { getPrismaClient } from "@prisma/client/runtime/client";
import type { ITXClientDenyList } from "@prisma/client/runtime/client";

/** What a client has that is not about models. */
export interface PrismaClient {
  $executeRaw(query: TemplateStringsArray, ...values: unknown[]): Promise<number>;
  $queryRaw<T = unknown>(query: TemplateStringsArray, ...values: unknown[]): Promise<T>;
  $queryRawUnsafe<T = unknown>(query: string, ...values: unknown[]): Promise<T>;
  $transaction<R>(work: (tx: TransactionClient) => Promise<R>, options?: TransactionOptions): Promise<R>;
  $connect(): Promise<void>;
  $disconnect(): Promise<void>;
}

export type TransactionClient = Omit<PrismaClient, ITXClientDenyList>;

export interface TransactionOptions {
  readonly isolationLevel?: "ReadCommitted" | "RepeatableRead" | "Serializable";
  readonly timeout?: number;
}

export function openPrisma(url: string): PrismaClient {
  return new Client({ adapter: new PrismaPg({ connectionString: url }) }) as unknown as PrismaClient;
}

// The compiler that makes SQL of a model's queries. It is started for raw ones, too.
const compiler = "@prisma/client/runtime/query_compiler_fast_bg.postgresql";

const Client = getPrismaClient({
  previewFeatures: [],
  clientVersion: "7.10.0",
  engineVersion: "0edf323efd1d98336f3f0a68684b56f689b900d3",
  activeProvider: "postgresql",
  inlineSchema: 'datasource db {\n  provider = "postgresql"\n}\n',
  runtimeDataModel: { models: {}, enums: {}, types: {} },
  parameterizationSchema: { strings: [], graph: "AAAA" },
  compilerWasm: {
    getRuntime: async () => (await import(`${compiler}.mjs`)) as never,
    getQueryCompilerWasmModule: async () => {
      const { wasm } = (await import(`${compiler}.wasm-base64.mjs`)) as { wasm: string };
      return new WebAssembly.Module(Buffer.from(wasm, "base64"));
    },
    importName: "./query_compiler_fast_bg.js",
  },
});
