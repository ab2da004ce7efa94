/**
 * The documentation as one page of HTML: no script, nothing from elsewhere, readable by whatever reads HTML. Its style is allowed by
 * its hash, so that the policy needs no `unsafe-inline`.
 */
import { createHash } from "node:crypto";
import { problemCodes, statusOfProblem, titleOfProblem, typeOfProblem } from "./contract/problems.js";
import type { OpenApi, Operation } from "./openapi.js";

export interface Page {
  readonly html: string;
  readonly contentSecurityPolicy: string;
}

const style = `
:root { color-scheme: light dark; --page: light-dark(#ffffff, #0f1419); --raised: light-dark(#f6f8fa, #161c24);
  --text: light-dark(#1f2328, #e6edf3); --muted: light-dark(#59636e, #9ba6b2); --line: light-dark(#d1d9e0, #2f3742);
  --link: light-dark(#0a4b94, #a5d8ff); }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.55 system-ui, sans-serif; }
.frame { display: grid; grid-template-columns: minmax(12rem, 18rem) minmax(0, 1fr); gap: 2.5rem; max-width: 76rem; margin: 0 auto; padding: 2rem 1.25rem 6rem; }
nav { position: sticky; top: 1rem; align-self: start; max-height: calc(100vh - 2rem); overflow: auto; font-size: .875rem; }
nav ul { list-style: none; margin: 0 0 1rem; padding: 0; }
nav a { display: block; padding: .2rem 0; text-decoration: none; overflow-wrap: anywhere; }
nav p { font-size: .8rem; font-weight: 600; margin: 1rem 0 .25rem; color: var(--muted); }
a { color: var(--link); }
a:focus-visible, summary:focus-visible, pre:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 3px; }
h1 { margin: 0 0 .5rem; font-size: 2rem; }
h2 { margin: 3rem 0 1rem; border-bottom: 1px solid var(--line); padding-bottom: .35rem; }
article { background: var(--raised); border: 1px solid var(--line); border-radius: 10px; padding: 1.1rem 1.25rem; margin: 0 0 1.25rem; scroll-margin-top: 1rem; }
article h3 { margin: 0 0 .35rem; font: 600 1rem/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
.verb { display: inline-block; min-width: 4.2rem; }
article p { margin: .35rem 0; }
.muted { color: var(--muted); }
table { border-collapse: collapse; width: 100%; margin: .75rem 0 0; font-size: .9rem; }
caption { text-align: left; font-weight: 600; padding: .5rem 0 .25rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; border-top: 1px solid var(--line); overflow-wrap: anywhere; }
th { font-weight: 500; white-space: nowrap; }
code, pre { font-family: ui-monospace, monospace; font-size: .85em; }
pre { overflow: auto; max-height: 28rem; background: var(--page); border: 1px solid var(--line); border-radius: 8px; padding: .75rem; }
summary { cursor: pointer; padding: .3rem 0; }
@media (max-width: 52rem) { .frame { grid-template-columns: minmax(0, 1fr); } nav { position: static; max-height: none; } th { white-space: normal; } }
`;

export function documentationPage(document: OpenApi): Page {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
  );
  const tags = [...new Set(operations.flatMap(({ operation }) => operation.tags))];
  const ofTag = (tag: string) => operations.filter(({ operation }) => operation.tags.includes(tag));
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(document.info.title)} HTTP API</title>
<style>${style}</style>
</head>
<body>
<div class="frame">
<nav aria-label="Operations">
${tags
  .map(
    (tag) => `<p id="nav-${escape(tag)}">${escape(tag)}</p>
<ul aria-labelledby="nav-${escape(tag)}">${ofTag(tag)
      .map(({ operation }) => `<li><a href="#${operation.operationId}">${escape(operation.summary)}</a></li>`)
      .join("")}</ul>`,
  )
  .join("\n")}
<p id="nav-more">More</p>
<ul aria-labelledby="nav-more"><li><a href="#schemas">Schemas</a></li><li><a href="#problems">Problems</a></li><li><a href="openapi.json">openapi.json</a></li></ul>
</nav>
<main>
<h1>${escape(document.info.title)} HTTP API</h1>
<p class="muted">Version ${escape(document.info.version)}</p>
<p>${escape(document.info.description ?? "")}</p>
${tags.map((tag) => `<h2>${escape(tag)}</h2>\n${ofTag(tag).map(article).join("\n")}`).join("\n")}
<h2 id="schemas">Schemas</h2>
${Object.entries(document.components.schemas).map(schemaOf).join("\n")}
<h2 id="problems">Problems</h2>
${problemTable()}
</main>
</div>
</body>
</html>
`;
  const hash = createHash("sha256").update(style).digest("base64");
  return {
    html,
    contentSecurityPolicy: `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  };
}

function article({
  path,
  method,
  operation,
}: {
  readonly path: string;
  readonly method: string;
  readonly operation: Operation;
}): string {
  const { operationId, summary, description, parameters = [], requestBody, responses } = operation;
  return `<article id="${operationId}">
<h3><span class="verb">${method}</span>${escape(path)}</h3>
<p><strong>${escape(summary)}</strong></p>
${description === undefined || description === `${summary}.` ? "" : `<p>${escape(description)}</p>`}
${
  parameters.length === 0
    ? ""
    : table(
        "Parameters",
        parameters.map(({ name, in: place, description: text = "" }) => [
          `${code(name)} <span class="muted">${place}</span>`,
          escape(text),
        ]),
      )
}
${
  requestBody === undefined
    ? ""
    : `<p>Body: ${Object.entries(requestBody.content)
        .map(([type, { schema }]) => `${code(type)} ${nameOf(schema)}`)
        .join(" or ")}</p>`
}
${table(
  "Answers",
  Object.entries(responses).map(([status, { description: text, content = {} }]) => [
    code(status),
    `${escape(text)} ${Object.entries(content)
      .map(([type, { schema }]) => `<span class="muted">${escape(type)}</span> ${nameOf(schema)}`)
      .join(" ")}`,
  ]),
)}
</article>`;
}

function schemaOf([name, schema]: [string, unknown]): string {
  // The place to go to is within: a browser opens what a link leads into.
  return `<details><summary>${code(name)}</summary><pre id="schema-${escape(name)}" tabindex="0" role="region" aria-label="${escape(name)}">${escape(JSON.stringify(schema, null, 2))}</pre></details>`;
}

/** A link to a schema that has a name; others are shown in openapi.json only. */
function nameOf(schema: unknown): string {
  const { $ref } = schema as { $ref?: string };
  const name = $ref?.split("/").at(-1);
  return name === undefined ? "" : `<a href="#schema-${escape(name)}">${escape(name)}</a>`;
}

function problemTable(): string {
  const rows = problemCodes.map((each) => [
    `${code(String(statusOfProblem(each)))} ${code(typeOfProblem(each))}`,
    escape(titleOfProblem(each)),
  ]);
  return table("The types of problem+json, by status", rows);
}

function table(caption: string, rows: readonly (readonly string[])[]): string {
  const body = rows.map(
    ([head = "", ...cells]) =>
      `<tr><th scope="row">${head}</th>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`,
  );
  return `<table><caption>${caption}</caption><tbody>${body.join("")}</tbody></table>`;
}

function code(text: string): string {
  return `<code>${escape(text)}</code>`;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
