/**
 * Real PostgreSQL for tests, benchmarks and the demo: servers of our own, the one that a test run shares, a pooler and a bad
 * network in front of them.
 */
export { startFlakyProxy } from "./flaky-proxy.js";
export type { FlakyProxy, FlakyProxyOptions } from "./flaky-proxy.js";
export { findLocalPostgres } from "./local-postgres.js";
export type { LocalPostgres } from "./local-postgres.js";
export { startPgBouncer } from "./pgbouncer.js";
export type { PgBouncer, PgBouncerOptions } from "./pgbouncer.js";
export { startPostgres } from "./postgres.js";
export type { PostgresOptions, PostgresServer, ShutdownMode } from "./postgres.js";
export { withPort } from "./ports.js";
export { testPostgresUrl } from "./test-server.js";
export type { Unavailable } from "./unavailable.js";
