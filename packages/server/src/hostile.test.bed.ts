/** What nobody sends in good faith: every string of every request, made of what parsers, databases and terminals stumble over. */
import { expect } from "vitest";
import { faultOfProblem, type Bed, type Seen } from "./service.test.bed.js";

/** Is in no answer that refuses it. */
const marker = "Kanarienvogel";

const odd: Readonly<Record<string, string>> = {
  nul: "\u0000",
  "lone high surrogate": "\ud800",
  "lone low surrogate": "\udfff",
  bidi: "\u202e\u2066",
  "line breaks": "\r\n\u2028",
  escape: "\u001b[2J",
  "not a character": "\uffff",
  "quotes and markup": `'"\`<script>;--\${}`,
  "ten thousand": "x".repeat(10_000),
};

/** JSON that is odd beyond strings. As text: what writes JSON would mend it. */
const oddValues: Readonly<Record<string, string>> = {
  "beyond numbers": "1e999",
  "a long number": "9".repeat(400),
  "negative zero": "-0",
  "a fraction": "1e-400",
  "an array": "[[[]]]",
  null: "null",
};

const oddDates = ["9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59-23:59", "0000-01-01T00:00:00+23:59", "-000001-01-01T00:00:00Z", "+275760-09-13T00:00:00.001Z", "2026-02-30T00:00:00Z", "now"]; // prettier-ignore

interface Place {
  readonly method: string;
  readonly path: string;
  /** With the odd text in it. */
  readonly body?: (text: string) => unknown;
}

function placesOf(id: string): readonly Place[] {
  const post = (path: string, body: Place["body"]): Place => ({ method: "POST", path, body: body! });
  const patch = (path: string, body: Place["body"]): Place => ({ method: "PATCH", path, body: body! });
  return [
    post("/v1/jobs", (text) => ({ type: text, payload: {} })),
    post("/v1/jobs", (text) => ({ type: "guard.note", payload: { text } })),
    post("/v1/jobs", (text) => ({ type: "guard.note", payload: { token: text } })),
    post("/v1/jobs", (text) => ({ type: "guard.note", payload: { n: text } })),
    post("/v1/jobs", (text) => ({ type: "guard.note", payload: { [text]: 1 } })),
    post("/v1/jobs", (text) => ({ type: "guard.note", payload: text })),
    post("/v1/jobs", (text) => ({ type: "guard.note", payload: {}, correlation: { a: text } })),
    post("/v1/jobs", (text) => ({ type: "guard.note", payload: {}, correlation: { [text]: "a" } })),
    post("/v1/jobs", (text) => ({ type: "guard.note", payload: {}, runAt: text })),
    post("/v1/jobs", (text) => ({ type: "guard.note", payload: {}, delayMs: text })),
    post("/v1/jobs", (text) => ({ type: "guard.note", payload: {}, [text]: 1 })),
    post("/v1/jobs/batch", (text) => [{ type: "guard.note", payload: { text }, correlation: { a: text } }]),
    post("/v1/jobs/batch", (text) => text),
    post(`/v1/jobs/${id}/retry`, (text) => ({ reason: text })),
    post(`/v1/jobs/${id}/cancel`, (text) => ({ reason: text })),
    post(`/v1/jobs/${id}/discard`, (text) => ({ reason: text })),
    patch(`/v1/jobs/${id}/payload`, (text) => ({ payload: { text }, reason: text })),
    post("/v1/bulk", (text) => ({ action: "retry", q: text, reason: "a test", dryRun: true })),
    post("/v1/bulk", (text) => ({ action: "retry", q: "state:failed type:guard.nothing", reason: text })),
    post("/v1/bulk", (text) => ({ action: "retry", q: "state:failed", reason: "x", dryRun: true, asOf: text })),
    post("/v1/bulk", (text) => ({
      action: "retry",
      q: "state:failed",
      reason: "x",
      dryRun: true,
      ratePerSecond: text,
    })),
    patch("/v1/types/other.note", (text) => ({ pause: { reason: text } })),
    patch("/v1/types/other.note", (text) => ({ pause: { until: text } })),
    patch("/v1/types/other.note", (text) => ({ pause: null, reason: text })),
    patch("/v1/types/other.note", (text) => ({
      rollout: { percentage: 50, allow: [text], by: { correlation: text } },
    })),
    patch("/v1/types/other.note", (text) => ({ concurrency: text })),
    patch("/v1/types/other.note", (text) => ({ rate: { limit: text, perMs: text, burst: text } })),
    patch("/v1/types/other.note", (text) => ({ enqueueLimit: { maxBacklog: text } })),
    post("/v1/keys", (text) => ({ name: text, roles: ["submit"] })),
    post("/v1/keys", (text) => ({ name: "a", roles: [text] })),
    post("/v1/keys", (text) => ({ name: "a", roles: ["submit"], types: [text] })),
    post("/v1/keys", (text) => ({ name: "a", roles: ["submit"], reason: text })),
    post("/v1/keys", (text) => ({ name: "a", roles: ["submit"], expiresAt: text })),
    post("/v1/session", (text) => ({ key: text })),
  ];
}

const addresses = (id: string): readonly string[] => [
  "/v1/jobs?q=",
  "/v1/jobs?q=state:failed%20error:",
  "/v1/jobs?q=correlation.a:",
  "/v1/jobs?q=worker:",
  "/v1/jobs?cursor=",
  "/v1/jobs?limit=",
  "/v1/jobs?x=",
  "/v1/jobs/",
  `/v1/jobs/${id}/payload?reason=`,
  "/v1/types/",
  "/v1/types?",
  "/v1/stats?range=",
  "/v1/stats?type=",
  "/v1/audit?actor=",
  "/v1/audit?cursor=",
  "/v1/audit?job=",
  "/v1/audit?action=",
];

/** Sends all of it. @returns how many requests that were, and what is wrong with their answers */
export async function sendHostile(
  bed: Bed,
  key: string,
): Promise<{ readonly sent: number; readonly faults: readonly string[] }> {
  const { id } = (await bed.enqueue("guard.note", { text: "a" }, { key, more: { delayMs: 3_600_000 } })).json;
  const faults: string[] = [];
  let sent = 0;
  const judge = (what: string, seen: Seen, isTold: boolean) => {
    sent++;
    const fault = seen.status >= 400 ? faultOfProblem(seen) : null;
    if (seen.status >= 500) faults.push(`${what}: ${seen.status} ${seen.text.slice(0, 200)}`);
    else if (fault !== null) faults.push(`${what}: ${fault}`);
    else if (seen.status >= 400 && !isTold && seen.text.includes(marker)) faults.push(`${what}: told again: ${seen.text.slice(0, 300)}`); // prettier-ignore
  };
  const headers = { "content-type": "application/json" };
  for (const { method, path, body } of placesOf(id)) {
    // Names are told: whoever has mistyped one finds it so. Words of a search are, too.
    const isTold = path === "/v1/bulk" || JSON.stringify(body!("#")).includes('"#":');
    const ask = async (what: string, text: string) =>
      judge(`${method} ${path} ${what} in ${JSON.stringify(body!("#"))}`, await bed.call(method, path, { key, headers, body: text }), isTold); // prettier-ignore
    const all = Object.entries(odd).map(([what, text]) => ask(what, JSON.stringify(body!(`${marker}${text}`))));
    for (const [what, json] of Object.entries(oddValues)) {
      all.push(ask(what, JSON.stringify(body!("#")).replaceAll('"#"', (found) => (found === '"#"' ? json : found)).replaceAll(`${json}:`, '"a":'))); // prettier-ignore
    }
    for (const date of oddDates) all.push(ask(date, JSON.stringify(body!(date))));
    await Promise.all(all);
  }
  for (const address of addresses(id)) {
    const isTold = address.includes("?q=") || address.endsWith("?");
    const all = Object.entries(odd).map(async ([what, text]) => {
      // A lone surrogate cannot be written in an address: its bytes can.
      const written = [...`${marker}${text.slice(0, 3_000)}`].map((each) => (/\p{Cs}/u.test(each) ? "%ED%A0%80" : encodeURIComponent(each))).join(""); // prettier-ignore
      judge(`GET ${address} ${what}`, await bed.call("GET", address + written, { key }), isTold);
    });
    for (const value of ["", "-1", "1e999", "9".repeat(400), "0x10", "%", "%zz", "%00", "a&a=b", "[]", ...oddDates]) {
      all.push(bed.call("GET", address + value, { key }).then((seen) => judge(`GET ${address}${value}`, seen, true)));
    }
    await Promise.all(all);
  }
  expect((await bed.call("GET", `/v1/jobs/${id}`, { key })).status).toBe(200);
  return { sent, faults };
}
