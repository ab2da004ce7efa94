/**
 * The application on PostgreSQL.
 */
import { describeApp } from "./app.test.cases.js";
import { onPostgres } from "./app.test.target.js";

describeApp(onPostgres);
