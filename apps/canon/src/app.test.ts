/**
 * The application on SQLite.
 */
import { describeApp } from "./app.test.cases.js";
import { onSqlite } from "./app.test.target.js";

describeApp(onSqlite);
