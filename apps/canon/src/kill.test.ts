/**
 * The application on SQLite, killed.
 */
import { onSqlite } from "./app.test.target.js";
import { describeKills } from "./kill.test.cases.js";

describeKills(onSqlite);
