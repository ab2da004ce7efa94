/**
 * A network that can be made to fail, for whatever speaks TCP: connections go through it, and are cut, frozen or slowed on command.
 */
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export interface FlakyProxyOptions {
  readonly targetPort: number;
  /** Default 127.0.0.1. */
  readonly targetHost?: string;
}

export interface FlakyProxy {
  /** On 127.0.0.1. */
  readonly port: number;
  /** Resets every connection, on both sides. New ones are welcome. */
  cut(): void;
  /** Nothing passes any more, in either direction, not even the news that a side has closed: connections are half open. */
  freeze(): void;
  /** What was held back passes, in its order. */
  thaw(): void;
  /** Everything that is sent from now on arrives this much later. 0 ends it. */
  delay(ms: number): void;
  stop(): Promise<void>;
}

/** As much as a real connection holds in its buffers before the sender has to wait. */
const bufferedBytes = 1 << 20;

export async function startFlakyProxy({
  targetPort,
  targetHost = "127.0.0.1",
}: FlakyProxyOptions): Promise<FlakyProxy> {
  const weather = new Weather();
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const target = connect({ host: targetHost, port: targetPort, allowHalfOpen: true, noDelay: true });
    for (const socket of [client, target]) {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
    }
    forward(client, target, weather);
    forward(target, client, weather);
  });
  const cut = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    freeze: () => weather.freeze(),
    thaw: () => weather.thaw(),
    delay: (ms) => {
      weather.delayMs = ms;
    },
    stop: async () => {
      if (!server.listening) return;
      server.close();
      cut();
      await once(server, "close");
    },
  };
}

/** What all connections of a proxy have in common. */
class Weather {
  delayMs = 0;
  #frost: { readonly isOver: Promise<void>; readonly end: () => void } | null = null;

  freeze(): void {
    if (this.#frost !== null) return;
    let end: () => void = () => undefined;
    const isOver = new Promise<void>((resolve) => (end = resolve));
    this.#frost = { isOver, end };
  }

  thaw(): void {
    this.#frost?.end();
    this.#frost = null;
  }

  /** Resolves when what is due then may arrive. */
  async passes(dueAt: number): Promise<void> {
    const waitMs = dueAt - performance.now();
    if (waitMs > 0) await sleep(waitMs, undefined, { ref: false });
    while (this.#frost !== null) await this.#frost.isOver;
  }
}

/** One direction of a connection. Its bytes, its end and its failure arrive in the order in which they were sent. */
function forward(from: Socket, to: Socket, weather: Weather): void {
  let last = Promise.resolve();
  let waitingBytes = 0;
  const send = (arrive: () => void) => {
    const dueAt = performance.now() + weather.delayMs;
    last = last.then(async () => {
      await weather.passes(dueAt);
      if (!to.destroyed) arrive();
    });
  };

  from.on("data", (bytes) => {
    waitingBytes += bytes.length;
    if (waitingBytes > bufferedBytes) from.pause();
    send(() => {
      to.write(bytes, () => {
        waitingBytes -= bytes.length;
        if (waitingBytes <= bufferedBytes) from.resume();
      });
    });
  });
  from.on("end", () => send(() => to.end()));
  // Also when the target refuses the connection.
  from.on("error", () => send(() => to.resetAndDestroy()));
}
