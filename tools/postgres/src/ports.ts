/** Ports on 127.0.0.1, and URLs that name them. */
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";

// Below the ports that systems give to outgoing connections: a server that restarts finds its own port free.
const firstPort = 20_000;
const endPort = 32_000;

export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = randomInt(firstPort, endPort);
    if (await isFree(port)) return port;
  }
  throw new Error(`No free port between ${firstPort} and ${endPort}.`);
}

/** The same database by another way: through a proxy or a pooler on this machine. */
export function withPort(url: string, port: number): string {
  const changed = new URL(url);
  changed.hostname = "127.0.0.1";
  changed.port = String(port);
  return changed.href;
}

async function isFree(port: number): Promise<boolean> {
  const probe = createServer();
  try {
    probe.listen(port, "127.0.0.1");
    await once(probe, "listening");
  } catch {
    return false;
  }
  probe.close();
  await once(probe, "close");
  return true;
}
