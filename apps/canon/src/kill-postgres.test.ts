/**
 * The application on PostgreSQL, killed.
 */
import { onPostgres } from "./app.test.target.js";
import { describeKills } from "./kill.test.cases.js";

describeKills(onPostgres);
