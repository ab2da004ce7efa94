/** The document is valid, says what linters want said, and has each route that there is and no other. */
import { Validator } from "@seriousme/openapi-schema-validator";
import spectralCore from "@stoplight/spectral-core";
import spectralRulesets from "@stoplight/spectral-rulesets";
import Fastify from "fastify";
import { Queue, type Store } from "sluice";
import { memory } from "sluice/memory";
import { expect, test } from "vitest";
import { endpoints } from "./contract/index.js";
import { problemCodes, statusOfProblem } from "./contract/problems.js";
import { openApiDocument } from "./openapi.js";
import { sluiceService, version } from "./service.js";

const document = openApiDocument({ version, prefix: "/background" });
const plain = () => JSON.parse(JSON.stringify(document)) as Record<string, unknown>;
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, operation })),
);

test("it is valid OpenAPI 3.1", async () => {
  expect(await new Validator().validate(plain())).toEqual({ valid: true });
});

test("Spectral finds nothing", { timeout: 60_000 }, async () => {
  const spectral = new spectralCore.Spectral();
  spectral.setRuleset({
    extends: [[spectralRulesets.oas, "all"]],
    rules: {
      // There is a page to go to, and no address to write to.
      "contact-properties": "off",
      // `identifier` has taken its place, and excludes it (OpenAPI 3.1).
      "license-url": "off",
      // In the order in which they are read: first what most come for.
      "openapi-tags-alphabetical": "off",
    },
  } as never);

  const found = await spectral.run(plain());

  expect(found.map(({ code, path, message }) => `${code} ${path.join("/")} ${message}`)).toEqual([]);
});

test("each route is in it, and each operation has a route", async () => {
  const store = (await memory()) as Store<unknown>;
  const queue = new Queue<unknown>({ store });
  const app = Fastify();
  const routes: string[] = [];
  app.addHook("onRoute", ({ method, url }) => {
    // Beside GET Fastify adds HEAD; routes for OPTIONS say which methods there are.
    if (method === "HEAD" || (Array.isArray(method) && method.includes("OPTIONS"))) return;
    routes.push(`${[method].flat().join()} ${url.replace("/background", "").replace(/:(\w+)/g, "{$1}")}`);
  });
  await app.register(sluiceService, { prefix: "/background", store, queue });
  await app.ready();
  await app.close();
  await queue.close();
  await store.close();

  expect(routes.sort()).toEqual(operations.map(({ name }) => name).sort());
  expect(operations).toHaveLength(endpoints.length);
});

test("ids of operations are there once each", () => {
  const ids = operations.map(({ operation }) => operation.operationId);
  expect(new Set(ids).size).toBe(ids.length);
});

test.each(operations)("$name documents its problems", ({ operation }) => {
  const problems = Object.entries(operation.responses).flatMap(([status, { description, content = {} }]) =>
    "application/problem+json" in content
      ? [...description.matchAll(/(?:^| )([a-z_]+): /g)].map(([, code]) => ({ status: Number(status), code: code! }))
      : [],
  );
  const endpoint = endpoints.find(({ id }) => id === operation.operationId)!;

  const said = problems.map(({ code }) => code);
  expect(said).toEqual(expect.arrayContaining(["malformed_request", "invalid_request", "internal", "not_acceptable"]));
  const announced = new Set(Object.keys(endpoint.answers));
  const own = endpoint.problems.filter((code) => !announced.has(String(statusOfProblem(code))));
  expect(said).toEqual(expect.arrayContaining(own));
  if (endpoint.access !== "open") expect(said).toEqual(expect.arrayContaining(["unauthenticated", "forbidden"]));
  for (const { status, code } of problems) {
    expect(problemCodes).toContain(code);
    expect(statusOfProblem(code as (typeof problemCodes)[number])).toBe(status);
  }
});
