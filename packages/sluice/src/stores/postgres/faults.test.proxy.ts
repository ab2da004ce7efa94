/**
 * A network that reads along: it lets a statement reach the server and loses the answer, goes silent after a statement, or brings a
 * statement when nobody waits for it any more. For what no timing can be relied on to hit.
 */
import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";

export interface ReadingProxy {
  /** On 127.0.0.1. */
  readonly port: number;
  /** The next statement with this text is done by the server; then its connection is reset, and the answer is lost. */
  loseAnswer(text: string): Promise<void>;
  /** The next statement with this text gets no answer, and its connection stays open: nothing passes on it any more. */
  goSilent(text: string): Promise<void>;
  /** The next statement with this text waits on the way. Resolves when it does, with what brings it to the server and waits until it is done there. */
  holdUp(text: string): Promise<() => Promise<void>>;
  stop(): Promise<void>;
}

interface Trap {
  readonly text: string;
  /** Given the statement, and the sockets of its connection. */
  readonly spring: (statement: Buffer, client: Socket, server: Socket) => void;
}

export async function startReadingProxy(url: string): Promise<ReadingProxy> {
  const { port: targetPort } = new URL(url);
  const sockets = new Set<Socket>();
  let trap: Trap | null = null;

  const listener = createServer({ noDelay: true }, (client) => {
    const server = connect({ host: "127.0.0.1", port: Number(targetPort), noDelay: true });
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => sockets.delete(socket));
    }
    const onStatement = (bytes: Buffer) => {
      if (!trap || !bytes.includes(trap.text)) return void server.write(bytes);
      const { spring } = trap;
      trap = null;
      client.off("data", onStatement);
      server.off("data", onAnswer);
      spring(bytes, client, server);
    };
    const onAnswer = (bytes: Buffer) => client.write(bytes);
    client.on("data", onStatement);
    server.on("data", onAnswer);
    client.on("close", () => server.destroy());
    server.on("close", () => client.destroy());
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");

  const next = <T>(text: string, spring: (done: (value: T) => void, ...on: Parameters<Trap["spring"]>) => void) =>
    new Promise<T>((resolve) => (trap = { text, spring: (...on) => spring(resolve, ...on) }));

  return {
    port: (listener.address() as AddressInfo).port,
    loseAnswer: (text) =>
      next<void>(text, (done, statement, client, server) => {
        server.once("data", () => {
          client.resetAndDestroy();
          done();
        });
        server.write(statement);
      }),
    goSilent: (text) =>
      next<void>(text, (done, _statement, client, server) => {
        client.removeAllListeners("close");
        server.removeAllListeners("close");
        done();
      }),
    holdUp: (text) =>
      next<() => Promise<void>>(text, (done, statement, client, server) => {
        client.removeAllListeners("close");
        done(async () => {
          const answered = once(server, "data");
          server.write(statement);
          await answered;
        });
      }),
    stop: async () => {
      listener.close();
      for (const socket of sockets) socket.destroy();
      await once(listener, "close");
    },
  };
}
