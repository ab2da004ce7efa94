/** Sends a request as it is said, with node:http, which changes nothing in it; `fetch` would mend what ought to be looked at. */
import { Agent, request } from "node:http";
import type { Seen } from "./document.js";

export interface Sent {
  readonly method: string;
  /** With its query, percent signs and all, as it goes over the line. */
  readonly path: string;
  /** Names and values in turn; a name may be there twice. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Uint8Array | null;
}

export interface Sender {
  send(sent: Sent): Promise<Seen>;
  close(): void;
}

/** A stream is read up to its first message. */
export function senderTo(baseUrl: string, { timeoutMs = 60_000 } = {}): Sender {
  const { hostname, port } = new URL(baseUrl);
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  return {
    send: ({ method, path, headers, body }) =>
      new Promise((resolve, reject) => {
        const flat = headers.flat();
        if (body !== null) flat.push("content-length", String(body.byteLength));
        const names = headers.map(([name]) => name.toLowerCase());
        if (!names.includes("host")) flat.unshift("host", `${hostname}:${port}`);
        const outgoing = request({ hostname, port, agent, method, path, headers: flat as never, timeout: timeoutMs });
        outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer to ${method} ${path} in ${timeoutMs} ms`)));
        outgoing.on("error", reject);
        outgoing.on("response", (incoming) => {
          const { statusCode: status = 0 } = incoming;
          let text = "";
          const done = () => resolve({ status, headers: incoming.headers, text });
          incoming.setEncoding("utf8").on("data", (chunk: string) => {
            text += chunk;
            if (!text.includes("\ndata: ") || !String(incoming.headers["content-type"]).startsWith("text/event-stream"))
              return;
            done();
            outgoing.destroy();
          });
          incoming.on("end", done);
          incoming.on("error", reject);
        });
        outgoing.end(body ?? undefined);
      }),
    close: () => agent.destroy(),
  };
}
