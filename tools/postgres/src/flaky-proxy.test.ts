import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startFlakyProxy, type FlakyProxy } from "./flaky-proxy.js";

let server: Server;
let targetPort: number;
let proxy: FlakyProxy;
/** The server's ends of the connections through the proxy and of those that go around it. */
let served: Socket[];

beforeEach(async () => {
  served = [];
  server = createServer((socket) => {
    served.push(socket);
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => socket.write(bytes));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  targetPort = (server.address() as AddressInfo).port;
  proxy = await startFlakyProxy({ targetPort });
});

afterEach(async () => {
  await proxy.stop();
  for (const socket of served) socket.destroy();
  server.close();
});

test("everything passes, also the end of one side before the other's", async () => {
  const client = await open(proxy.port);
  const large = Buffer.alloc(5_000_000, "sluice");
  client.end(large);
  expect(Buffer.concat(await client.toArray()).equals(large)).toBe(true);
});

test("a cut resets both sides, and the next connection works", async () => {
  const client = await open(proxy.port);
  await echo(client, "before");
  const lost = Promise.all([failureOf(client), failureOf(served[0]!)]);
  proxy.cut();
  expect(await lost).toEqual(["ECONNRESET", "ECONNRESET"]);
  expect(await echo(await open(proxy.port), "after")).toBe("after");
});

test("frozen connections stay open and silent until they thaw", async () => {
  const client = await open(proxy.port);
  await echo(client, "before");
  let heard = "";
  client.on("data", (bytes) => (heard += bytes.toString()));

  proxy.freeze();
  client.write("one ");
  served[0]!.write("two ");
  const late = await open(proxy.port);
  late.write("three");
  await bytesGoAround();
  expect(heard).toBe("");
  expect(served[0]!.bytesRead).toBe("before".length);

  proxy.thaw();
  const [answer] = (await once(late, "data")) as [Buffer];
  expect(answer.toString()).toBe("three");
  await expect.poll(() => heard).toBe("two one ");
});

test("a frozen connection hides that the other side is gone", async () => {
  const client = await open(proxy.port);
  await echo(client, "before");
  let hasClosed = false;
  client.on("close", () => (hasClosed = true));
  const lost = failureOf(client);

  proxy.freeze();
  served[0]!.resetAndDestroy();
  await bytesGoAround();
  expect(hasClosed).toBe(false);

  proxy.thaw();
  expect(await lost).toBe("ECONNRESET");
});

test("frozen connections can be cut", async () => {
  const client = await open(proxy.port);
  proxy.freeze();
  const lost = failureOf(client);
  proxy.cut();
  expect(await lost).toBe("ECONNRESET");
});

test("a delay counts in each direction and keeps the order", async () => {
  const client = await open(proxy.port);
  await echo(client, "before");
  proxy.delay(40);
  const started = performance.now();
  await echo(client, "late");
  expect(performance.now() - started).toBeGreaterThan(78);

  client.write("one ");
  await bytesGoAround();
  proxy.delay(0);
  expect(await echo(client, "two")).toBe("one two");
});

test("a target that refuses is a reset, and so is a stopped proxy", async () => {
  const client = await open(proxy.port);
  const lost = failureOf(client);
  await proxy.stop();
  await proxy.stop();
  expect(await lost).toBe("ECONNRESET");
  await expect(open(proxy.port)).rejects.toMatchObject({ code: "ECONNREFUSED" });

  const toNowhere = await startFlakyProxy({ targetPort: proxy.port });
  const refused = await open(toNowhere.port);
  expect(await failureOf(refused)).toBe("ECONNRESET");
  await toNowhere.stop();
});

async function open(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined); // tests that expect one listen for themselves
  await once(socket, "connect");
  return socket;
}

async function failureOf(socket: Socket): Promise<string | undefined> {
  return new Promise((resolve) => socket.once("error", ({ code }: NodeJS.ErrnoException) => resolve(code)));
}

/** What has arrived when there is as much as was sent last, or more. */
async function echo(socket: Socket, text: string): Promise<string> {
  socket.write(text);
  let heard = "";
  while (!heard.endsWith(text)) {
    const [bytes] = (await once(socket, "data")) as [Buffer];
    heard += bytes.toString();
  }
  return heard;
}

/** Long enough for bytes to have arrived that nobody holds back. */
async function bytesGoAround(): Promise<void> {
  const direct = await open(targetPort);
  for (let times = 0; times < 20; times++) await echo(direct, "around");
  direct.destroy();
}
