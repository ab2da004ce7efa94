/** What a service says to requests that reach it while it stops. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Queue } from "sluice";
import { sqlite } from "sluice/sqlite";
import { expect, test } from "vitest";
import { startService } from "./start.js";

/** A request whose last byte is not sent: its connection is not idle, and outlives the listening. */
async function begun(port: number, method: string, path: string): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  socket.write(`${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Length: 0\r\n`);
  return socket;
}

async function answerOf(socket: Socket): Promise<string> {
  socket.write("\r\n");
  return (await socket.setEncoding("utf8").toArray()).join("");
}

test("what reaches a service that stops is answered as a problem, also by routes of the application", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-server-"));
  const store = await sqlite({ path: join(folder, "jobs.db") });
  const queue = new Queue<unknown>({ store });
  const service = await startService({
    store,
    queue,
    port: 0,
    more: (app, edge) =>
      void app.get("/own", async (request) => {
        await edge.principal(request, ["submit"]);
        return "done";
      }),
  });
  const port = Number(new URL(service.url).port);
  const [jobs, own, ready, alive] = await Promise.all([
    begun(port, "POST", "/v1/jobs"),
    begun(port, "GET", "/own"),
    begun(port, "GET", "/readyz"),
    begun(port, "GET", "/livez"),
  ]);
  const follower = await fetch(`${service.url}/v1/events`);

  const closed = service.close();
  // Streams end as soon as it stops.
  await follower.text();
  const [toJobs, toOwn, toReady, toAlive] = await Promise.all([jobs, own, ready, alive].map(answerOf));
  await closed;

  for (const answer of [toJobs, toOwn]) {
    expect(answer).toMatch(/^HTTP\/1\.1 503 /);
    expect(answer).toMatch(/^content-type: application\/problem\+json/im);
    expect(answer).toMatch(/^retry-after: 1$/im);
    expect(answer).toContain('"code":"closing"');
  }
  expect(toReady).toMatch(/^HTTP\/1\.1 503 /);
  expect(toReady).toContain('"is stopping"');
  expect(toAlive).toMatch(/^HTTP\/1\.1 200 /);
  await queue.close();
  await store.close();
  rmSync(folder, { recursive: true });
});
