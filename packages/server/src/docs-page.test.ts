/** The page for people: whole, harmless, and in an order that a screen reader can follow. */
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { endpoints } from "./contract/index.js";
import { problemCodes } from "./contract/problems.js";
import { documentationPage } from "./docs-page.js";
import { openApiDocument, type OpenApi, type Operation } from "./openapi.js";
import { version } from "./service.js";

const document = openApiDocument({ version, prefix: "" });
const { html, contentSecurityPolicy } = documentationPage(document);
const all = (pattern: RegExp, text = html) => [...text.matchAll(pattern)].map(([, inner]) => inner!);

test("every operation, schema and problem is on it", () => {
  for (const { id, path, summary } of endpoints) {
    expect(html).toContain(`<article id="${id}">`);
    expect(html).toContain(`href="#${id}"`);
    expect(html).toContain(`</span>${path}</h3>`);
    expect(html).toContain(summary.replaceAll('"', "&quot;"));
  }
  for (const name of Object.keys(document.components.schemas)) expect(html).toContain(`id="schema-${name}"`);
  for (const code of problemCodes) expect(html).toContain(`urn:sluice:problem:${code}<`);
});

test("there is no script, no style of an element, and nothing from elsewhere", () => {
  expect(html).not.toMatch(/<script|<iframe|<object|<embed|<link|<img|<form|<base|\son\w+=|\sstyle=|javascript:/i);
  expect(html).not.toMatch(/\b(?:src|href|action)="(?:[a-z]+:)?\/\//i);
  expect(all(/<style>([^<]*)<\/style>/g)).toHaveLength(1);
  expect(all(/<style>([^<]*)<\/style>/g)[0]).not.toMatch(/url\(|@import/);
});

test("its style is allowed by its hash, and nothing else is", () => {
  const [style = ""] = all(/<style>([^<]*)<\/style>/g);
  expect(contentSecurityPolicy).toContain(`style-src 'sha256-${createHash("sha256").update(style).digest("base64")}'`);
  expect(contentSecurityPolicy).toContain("default-src 'none'");
  expect(contentSecurityPolicy).toContain("frame-ancestors 'none'");
  expect(contentSecurityPolicy).not.toContain("unsafe");
});

test("each link within the page leads somewhere, and each place is there once", () => {
  const ids = all(/\sid="([^"]+)"/g);
  expect(new Set(ids).size).toBe(ids.length);
  for (const target of all(/href="#([^"]+)"/g)) expect(ids).toContain(target);
  for (const label of all(/aria-labelledby="([^"]+)"/g)) expect(ids).toContain(label);
});

test("headings are in order, and the landmarks are there", () => {
  const levels = all(/<h([1-6])[ >]/g).map(Number);
  expect(levels[0]).toBe(1);
  expect(levels.filter((level) => level === 1)).toHaveLength(1);
  levels.reduce((before, level) => {
    expect(level - before).toBeLessThanOrEqual(1);
    return level;
  });
  expect(html).toMatch(/<html lang="en">/);
  expect(all(/<(nav|main)[ >]/g)).toEqual(["nav", "main"]);
});

test("what text says is text", () => {
  const hostile = `<img src=x onerror="alert(1)">&'`;
  const operation: Operation = {
    operationId: "odd",
    summary: hostile,
    description: hostile,
    tags: [hostile],
    parameters: [{ name: hostile, in: "query", description: hostile, schema: {} }],
    requestBody: { content: { [hostile]: { schema: { $ref: `#/${hostile}` } } } },
    responses: { 200: { description: hostile, content: { [hostile]: { schema: { $ref: `#/${hostile}` } } } } },
  };
  const odd: OpenApi = {
    openapi: "3.1.0",
    info: { title: hostile, version: hostile, description: hostile },
    paths: { [`/${hostile}`]: { get: operation } },
    components: { schemas: { [hostile]: { description: hostile } } },
  };

  const page = documentationPage(odd).html;

  expect(page).not.toContain("<img");
  // No attribute was left either.
  expect(page).not.toMatch(/="[^"]*<|onerror="/);
});

/** As WCAG has it. */
function contrast(one: string, other: string): number {
  const [lighter = 0, darker = 0] = [one, other].map(luminance).sort((a, b) => b - a);
  return (lighter + 0.05) / (darker + 0.05);
}

function luminance(hex: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5]
    .map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
    .map((part) => (part <= 0.040_45 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

test.each([0, 1])("texts can be read on their grounds, light and dark (%i)", (scheme) => {
  const colours = Object.fromEntries<string>(
    [...html.matchAll(/--(\w+): light-dark\((#\w{6}), (#\w{6})\)/g)].map(([, name, ...both]) => [name!, both[scheme]!]),
  );
  for (const text of ["text", "muted", "link"]) {
    for (const ground of ["page", "raised"]) {
      expect(contrast(colours[text] ?? "", colours[ground] ?? "")).toBeGreaterThanOrEqual(4.5);
    }
  }
});
