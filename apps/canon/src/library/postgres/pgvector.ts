/**
 * Nearest vectors by the extension pgvector: whether it is to be had, and the query.
 *
 * Exact on purpose, without an HNSW index: games are small beside what such an index is for, its filter by game comes after its
 * search, every insert would pay for it, and the answers would differ from the other databases'. It computes with the plain
 * numbers of canon.vectors, so that a database may get the extension, or lose it, at any time.
 */
import type { VectorQuery } from "../library.js";
import { rowsOf, type PostgresTx } from "./connection.js";
import type { Place, VectorSearch } from "./ranking.js";

export type Pgvector =
  /** The schema that it is in. */
  | { readonly isThere: true; readonly schema: string }
  | { readonly isThere: false; readonly why: "not installed on the server" | "not created in this database" };

/** Looks for the extension, and creates it where that is allowed. For the setup of the schema, after its tables. */
export async function findPgvector(tx: PostgresTx): Promise<Pgvector> {
  const [known] = await rowsOf<{ schema: string | null }>(tx, selectExtension, []);
  if (known === undefined) return { isThere: false, why: "not installed on the server" };
  if (known.schema === null) await tx.query(createExtension);
  const [created] = await rowsOf<{ schema: string | null }>(tx, selectExtension, []);
  const schema = created?.schema ?? null;
  return schema === null ? { isThere: false, why: "not created in this database" } : { isThere: true, schema };
}

export class PgvectorSearch implements VectorSearch {
  readonly #db: PostgresTx;
  readonly #selectNearest: string;

  constructor(db: PostgresTx, { schema }: Pgvector & { isThere: true }) {
    this.#db = db;
    this.#selectNearest = nearestIn(quoted(schema));
  }

  nearest({ game, vector, model, as, depth }: VectorQuery): Promise<readonly Place[]> {
    return rowsOf<Place>(this.#db, this.#selectNearest, [game, model, as === "gm", Array.from(vector), depth]);
  }
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

const selectExtension = `
  select space.nspname as schema
  from pg_available_extensions as available
  left join pg_extension as extension on extension.extname = available.name
  left join pg_namespace as space on space.oid = extension.extnamespace
  where available.name = 'vector'`;

// A block of its own, so that a refusal does not end the transaction around it.
const createExtension = `
  do $$
  begin
    create extension vector schema canon;
  exception when others then
    raise notice 'canon could not create the extension vector: %', sqlerrm;
  end
  $$`;

// Primary key of canon.vectors, whose first column is the game.
const nearestIn = (schema: string) => `
  with compared as materialized (
    select object_id, ordinal,
      embedding::${schema}.vector operator(${schema}.<=>) $4::real[]::${schema}.vector as distance
    from canon.vectors
    where game = $1
      and model = $2
      and (not is_restricted or $3)
  ), best as (
    select distinct on (object_id) object_id, ordinal, distance
    from compared
    order by object_id, distance, ordinal
  )
  select object_id as "objectId", ordinal
  from best
  order by distance, object_id
  limit $5`;
