/**
 * The application as a process for kill.test.cases.ts. Says its address, or null, when it is up; lives until it is killed.
 */
import { pino } from "pino";
import { startCanon } from "./app.js";
import { readConfig } from "./config.js";

const canon = await startCanon(readConfig(process.env), pino({ level: "silent" }));
process.send?.(canon.url);
