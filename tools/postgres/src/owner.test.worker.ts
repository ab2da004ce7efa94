/** Starts a server, says so, and waits for its end without stopping it. */
import { startPostgres } from "./postgres.js";

const { url, dataDir } = await startPostgres({ settings: { fsync: "off" } });
// A listener keeps the process alive for as long as the channel is open.
process.on("message", () => undefined);
process.send!({ url, dataDir });
