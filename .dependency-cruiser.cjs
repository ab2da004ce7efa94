/** The direction of imports (architecture.md §2): edges → core → port → vocabulary; nothing the other way, no cycles. */
const core = "^packages/sluice/src/";
const test = "\\.test\\.";

const flow = "settings|admission|intake|rate|rollout|fairness|breaker|aging";

module.exports = {
  forbidden: [
    {
      name: "no-cycles",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "vocabulary-imports-vocabulary-only",
      severity: "error",
      from: { path: `${core}(job|audit|access)\\.ts$` },
      to: { path: core, pathNot: `${core}(job|audit|errors)\\.ts$` },
    },
    {
      name: "flow-control-is-pure",
      comment: "What stores ask: it decides from what they bring, and knows nothing of them.",
      severity: "error",
      from: { path: `${core}(${flow})\\.ts$` },
      to: { path: core, pathNot: `${core}(job|audit|errors|store|idempotency|${flow})\\.ts$` },
    },
    {
      name: "rollups-are-pure",
      comment: "What stores add up: it knows nothing of them.",
      severity: "error",
      from: { path: `${core}rollup\\.ts$` },
      to: { path: core },
    },
    {
      name: "port-imports-vocabulary-only",
      severity: "error",
      from: { path: `${core}(store|snapshot|transition|keys|idempotency|moves|worked-types)\\.ts$` },
      to: {
        path: core,
        pathNot: `${core}(job|audit|access|errors|store|transition|keys|idempotency|rollup|${flow})\\.ts$`,
      },
    },
    {
      name: "stores-import-port-and-vocabulary-only",
      severity: "error",
      from: { path: `${core}stores/([^/]+)/`, pathNot: test },
      to: {
        path: core,
        pathNot: [
          `${core}(store|snapshot|transition|moves|keys|idempotency|worked-types|job|audit|access|errors|clock|rollup|${flow})\\.ts$`,
          `${core}stores/$1/`,
        ],
      },
    },
    {
      name: "settlement-and-backoff-are-pure",
      severity: "error",
      from: { path: `${core}(settlement|backoff|pace|waiting|stats)\\.ts$` },
      to: {
        path: ["^node:", `${core}(clock|events|queue|worker|attempt|context)\\.ts$`],
        dependencyTypesNot: ["type-only"],
      },
    },
    {
      name: "search-and-redaction-run-in-a-browser",
      severity: "error",
      from: { path: `${core}(grammar|search|schema-view|redaction)\\.ts$` },
      to: {
        path: ["^node:", core, "node_modules"],
        pathNot: `${core}(grammar|search|schema-view|redaction|job|errors)\\.ts$`,
        dependencyTypesNot: ["type-only"],
      },
    },
    {
      name: "nothing-imports-the-test-kit",
      severity: "error",
      from: { path: core, pathNot: [test, `${core}testing/`] },
      to: { path: `${core}testing/` },
    },
    {
      name: "library-knows-no-application",
      severity: "error",
      from: { path: "^packages/" },
      to: { path: "^(apps|examples|bench|tools)/" },
    },
    {
      name: "library-knows-no-command-line",
      severity: "error",
      from: { path: core },
      to: { path: "^packages/cli/" },
    },
    {
      name: "library-knows-no-edge",
      severity: "error",
      from: { path: core },
      to: { path: "^packages/(server|client)/" },
    },
    {
      name: "service-knows-no-client",
      severity: "error",
      from: { path: "^packages/server/" },
      to: { path: "^packages/(client|cli)/" },
    },
    {
      name: "contract-knows-no-route",
      comment: "What an endpoint is, said without knowing how it is done.",
      severity: "error",
      from: { path: "^packages/server/src/contract/" },
      to: { path: "^packages/server/src/(?!contract/)" },
    },
    {
      name: "applications-use-public-exports",
      severity: "error",
      from: { path: "^(apps|examples|bench|tools|packages/(cli|server|client))/" },
      to: { path: "^packages/sluice/(src|dist)/(?!index|search|stores/[^/]+/index|testing/index)" },
    },
    {
      name: "canon-knows-its-databases-in-one-room",
      severity: "error",
      from: {
        path: "^apps/canon/src/",
        pathNot: [test, "^apps/canon/src/(database|library/sqlite|library/postgres)/"],
      },
      to: { path: "^apps/canon/src/library/(sqlite|postgres)/" },
    },
    {
      name: "no-unused-modules",
      severity: "error",
      from: { orphan: true, pathNot: [test, "\\.d\\.ts$", "(main|index|thread)\\.ts$", "^examples/", "/dist/"] },
      to: {},
    },
    {
      name: "no-undeclared-packages",
      severity: "error",
      from: {},
      // A peer that is optional counts as undeclared, too.
      to: { dependencyTypes: ["npm-no-pkg", "npm-unknown"], dependencyTypesNot: ["npm-peer"] },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "/dist/" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.base.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "types", "default"] },
  },
};
